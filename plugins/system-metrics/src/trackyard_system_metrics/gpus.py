"""What do the GPUs of this machine use, as NVIDIA's library says?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("trackyard")

_MEGABYTE = 1e6


class Gpus:
    """The GPUs of this machine; none where NVML is not there."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._library: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            self._library = pynvml
        except Exception as error:  # no driver, no library, or one that is broken: no GPUs
            logger.debug("no GPU is observed: %s", error)

    def gauges(self) -> dict[str, float]:
        """Give what each GPU uses, by the name of its metric; what it does not tell is left out."""
        gauges: dict[str, float] = {}
        for index, handle in enumerate(self._handles):
            for look in (self._memory, self._use, self._power, self._temperature):
                for name, value in _told(look, handle).items():
                    gauges[f"gpu_{index}_{name}"] = value
        return gauges

    def close(self) -> None:
        """Let go of the library."""
        if self._library is not None:
            _told(lambda _: self._library.nvmlShutdown() or {}, None)
            self._library, self._handles = None, []

    def _memory(self, handle: Any) -> dict[str, float]:
        memory = self._library.nvmlDeviceGetMemoryInfo(handle)
        return {
            "memory_usage_megabytes": memory.used / _MEGABYTE,
            "memory_usage_percentage": round(100.0 * memory.used / memory.total, 1),
        }

    def _use(self, handle: Any) -> dict[str, float]:
        used = self._library.nvmlDeviceGetUtilizationRates(handle).gpu
        return {"utilization_percentage": float(used)}

    def _power(self, handle: Any) -> dict[str, float]:
        watts = self._library.nvmlDeviceGetPowerUsage(handle) / 1000
        limit = self._library.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        return {
            "power_usage_watts": watts,
            "power_usage_percentage": round(100.0 * watts / limit, 1),
        }

    def _temperature(self, handle: Any) -> dict[str, float]:
        kind = self._library.NVML_TEMPERATURE_GPU
        celsius = self._library.nvmlDeviceGetTemperature(handle, kind)
        return {"temperature_celsius": float(celsius)}


def _told(look: Callable[[Any], dict[str, float]], handle: Any) -> dict[str, float]:
    """Ask for something; some GPUs, and parts of one, do not tell everything."""
    try:
        return look(handle)
    except Exception:  # of NVML, and a limit of 0
        return {}
