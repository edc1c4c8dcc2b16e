"""Under which names does W&B's page show what a machine uses?

Metrics that begin with `system/` are rows of the history like any other; that page is fed by
records of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from trackyard_wandb.records import new_record

_PREFIX = "system/"
_GPU = re.compile(r"gpu_(\d+)_(.+)")


def _as_it_is(value: float) -> float:
    return value


def _in_bytes(megabytes: float) -> float:
    return megabytes * 1e6


def _in_gigabytes(megabytes: float) -> float:
    return megabytes * 1e6 / 1024**3


_NAMES: dict[str, tuple[str, Callable[[float], float]]] = {
    "cpu_utilization_percentage": ("cpu", _as_it_is),
    "system_memory_usage_percentage": ("memory_percent", _as_it_is),
    "process_memory_usage_megabytes": ("proc.memory.rssMB", _as_it_is),
    "disk_usage_percentage": ("disk./.usagePercent", _as_it_is),
    "disk_usage_megabytes": ("disk./.usageGB", _in_gigabytes),
    "network_receive_megabytes": ("network.recv", _in_bytes),
    "network_transmit_megabytes": ("network.sent", _in_bytes),
}
_OF_GPU: dict[str, tuple[str, Callable[[float], float]]] = {
    "utilization_percentage": ("gpu", _as_it_is),
    "memory_usage_percentage": ("memoryAllocated", _as_it_is),
    "memory_usage_megabytes": ("memoryAllocatedBytes", _in_bytes),
    "power_usage_watts": ("powerWatts", _as_it_is),
    "power_usage_percentage": ("powerPercent", _as_it_is),
    "temperature_celsius": ("temp", _as_it_is),
}


def stats_record(row: Mapping[str, str], timestamp: int) -> Any | None:
    """Give the record of what a row says of the machine; None where it says nothing.

    Args:
        row: Numbers in JSON, by column.
        timestamp: When, in nanoseconds since the epoch.
    """
    values = {
        name: value
        for column, text in row.items()
        if column.startswith(_PREFIX)
        for name, value in _named(column.removeprefix(_PREFIX), json.loads(text))
    }
    if not values:
        return None
    record = new_record()
    record.stats.timestamp.FromNanoseconds(timestamp)
    for name, value in values.items():
        item = record.stats.item.add()
        item.key, item.value_json = name, json.dumps(value)
    return record


def _named(name: str, value: Any) -> list[tuple[str, float]]:
    """Give W&B's name of a metric and its value, where W&B has one."""
    gpu = _GPU.fullmatch(name)
    known = _OF_GPU.get(gpu[2]) if gpu is not None else _NAMES.get(name)
    if known is None or not isinstance(value, int | float):
        return []
    named, convert = known
    return [(f"gpu.{gpu[1]}.{named}" if gpu is not None else named, convert(value))]
