"""Under which names does Comet's page show what a machine uses?

Its tab of system metrics has those that begin with `sys.`; the rest stands among the metrics.
"""

from __future__ import annotations

import re

import attrs

from trackyard.contract import Metric

_PORTABLE, _COMETS = "system/", "sys."
_GPU = re.compile(r"gpu_(\d+)_(.+)")
_COMETS_GPU = re.compile(r"gpu\.(\d+)\.(.+)")
# The SDK's own names, and how often their unit is in ours.
_NAMES = {
    "cpu_utilization_percentage": ("cpu.percent.avg", 1),
    "system_memory_usage_megabytes": ("ram.used", 1_000_000),
    "system_memory_usage_percentage": ("ram.percent.used", 1),
    "disk_usage_megabytes": ("disk.root.used", 1_000_000),
    "disk_usage_percentage": ("disk.root.percent.used", 1),
}
_OF_GPU = {
    "utilization_percentage": ("gpu_utilization", 1),
    "memory_usage_megabytes": ("used_memory", 1_000_000),
    "power_usage_watts": ("power_usage", 1000),
    "temperature_celsius": ("temperature", 1),
}
_BACK = {name: (key, times) for key, (name, times) in _NAMES.items()}
_OF_GPU_BACK = {name: (key, times) for key, (name, times) in _OF_GPU.items()}


def to_comet(metric: Metric) -> Metric:
    """Give a metric under Comet's name, if it is one of the machine's.

    Args:
        metric: Any metric.
    """
    if not metric.key.startswith(_PORTABLE):
        return metric
    key = metric.key.removeprefix(_PORTABLE)
    if (gpu := _GPU.fullmatch(key)) is not None:
        name, times = _OF_GPU.get(gpu[2], (gpu[2], 1))
        name = f"gpu.{gpu[1]}.{name}"
    else:
        name, times = _NAMES.get(key, (key, 1))
    return attrs.evolve(metric, key=_COMETS + name, value=metric.value * times)


def from_comet(metric: Metric) -> Metric:
    """Give a metric of Comet's under the name that it has elsewhere.

    Args:
        metric: Any metric.
    """
    if not metric.key.startswith(_COMETS):
        return metric
    name = metric.key.removeprefix(_COMETS)
    if (gpu := _COMETS_GPU.fullmatch(name)) is not None:
        key, times = _OF_GPU_BACK.get(gpu[2], (gpu[2], 1))
        key = f"gpu_{gpu[1]}_{key}"
    else:
        key, times = _BACK.get(name, (name, 1))
    value = metric.value if times == 1 else metric.value / times
    return attrs.evolve(metric, key=_PORTABLE + key, value=value)
