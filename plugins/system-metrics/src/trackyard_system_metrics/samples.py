"""What does a machine use at a moment, and what does that say of a run?

Names are MLflow's where it has one, so that the pages of trackers know them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from trackyard_system_metrics.gpus import Gpus

_MEGABYTE = 1e6
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """One process: who started it, since when it runs, what it has used."""

    number: int
    parent: int
    began: float
    seconds: float
    memory: int


class Sample(NamedTuple):
    """What was counted at a moment; counters count from the machine's start.

    Attributes:
        time: When, in seconds since the machine's start or so.
        busy, total: Seconds of all processors.
        gauges: What is in use, by the name of its metric.
        counters: What has gone through, likewise.
        processes: All processes.
    """

    time: float
    busy: float
    total: float
    gauges: dict[str, float]
    counters: dict[str, float]
    processes: list[Process]


class Sampler:
    """Takes samples of this machine."""

    def __init__(self) -> None:
        self._gpus = Gpus()

    def sample(self) -> Sample:
        """Look at the machine now."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Time of guests is in that of users already.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return Sample(
            time=time.monotonic(),
            busy=total - idle,
            total=total,
            gauges={**_gauges(), **self._gpus.gauges()},
            counters=_counters(),
            processes=list(_processes()),
        )

    def close(self) -> None:
        """Let go of the GPUs."""
        self._gpus.close()


def metrics_of(first: Sample, last: Sample, now: Sample, process: int) -> dict[str, float]:
    """Give the metrics of a run.

    Args:
        first: The sample of its start.
        last: The sample before.
        now: The sample.
        process: The run's process, to which its children belong.
    """
    metrics = dict(now.gauges)
    elapsed = now.total - last.total
    if elapsed > 0:
        busy = 100.0 * (now.busy - last.busy) / elapsed
        metrics["cpu_utilization_percentage"] = round(min(100.0, max(0.0, busy)), 1)
    for name, value in now.counters.items():
        metrics[name] = max(0.0, value - first.counters.get(name, value))
    metrics |= _metrics_of_tree(last, now, process)
    return {f"system/{name}": value for name, value in metrics.items()}


def _metrics_of_tree(last: Sample, now: Sample, process: int) -> dict[str, float]:
    tree = tree_of(now.processes, process)
    before = {(p.number, p.began): p.seconds for p in last.processes}
    used = sum(max(0.0, p.seconds - before.get((p.number, p.began), 0.0)) for p in tree)
    return {
        "process_cpu_utilization_percentage": round(100.0 * used / (now.time - last.time), 1),
        "process_memory_usage_megabytes": sum(p.memory for p in tree) / _MEGABYTE,
        "process_count": float(len(tree)),
    }


def tree_of(processes: list[Process], root: int) -> list[Process]:
    """Give a process and all that it has started, also by others in between.

    Args:
        processes: All processes.
        root: The process.
    """
    children: dict[int, list[Process]] = {}
    found = []
    for process in processes:
        children.setdefault(process.parent, []).append(process)
        if process.number == root:
            found.append(process)
    for process in found:  # it grows meanwhile
        found += children.get(process.number, [])
    return found


def _gauges() -> dict[str, float]:
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(os.sep)
    return {
        "system_memory_usage_megabytes": memory.used / _MEGABYTE,
        "system_memory_usage_percentage": round(100.0 * memory.used / memory.total, 1),
        "disk_usage_megabytes": disk.used / _MEGABYTE,
        "disk_usage_percentage": disk.percent,
        "disk_available_megabytes": disk.free / _MEGABYTE,
    }


def _counters() -> dict[str, float]:
    counters = {}
    network, disk = psutil.net_io_counters(), psutil.disk_io_counters()
    if network is not None:
        counters["network_receive_megabytes"] = network.bytes_recv / _MEGABYTE
        counters["network_transmit_megabytes"] = network.bytes_sent / _MEGABYTE
    if disk is not None:  # containers may not see any
        counters["disk_read_megabytes"] = disk.read_bytes / _MEGABYTE
        counters["disk_write_megabytes"] = disk.write_bytes / _MEGABYTE
    return counters


def _processes() -> Iterator[Process]:
    if sys.platform == "linux":
        yield from _processes_of_linux()
        return
    wanted = ["pid", "ppid", "create_time", "cpu_times", "memory_info"]
    for process in psutil.process_iter(wanted):
        info: dict[str, Any] = process.info
        times, memory = info["cpu_times"], info["memory_info"]
        if times is not None and memory is not None:  # else it is another user's
            used = times.user + times.system
            yield Process(info["pid"], info["ppid"], info["create_time"], used, memory.rss)


def _processes_of_linux() -> Iterator[Process]:
    """Read one file for each process, where psutil reads several."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - a path for each would cost more than the rest
        if not name.isdigit():
            continue
        try:
            text = Path(f"/proc/{name}/stat").read_bytes()
        except OSError:  # it has just ended
            continue
        fields = text[text.rfind(b")") + 2 :].split()
        seconds = (int(fields[11]) + int(fields[12])) / _TICK
        memory = int(fields[21]) * _PAGE
        yield Process(int(name), int(fields[1]), float(fields[19]), seconds, memory)
