"""System metrics of Trackyard's runs: CPU, memory, disk, network and GPUs."""

from trackyard_system_metrics.observing import SystemMetrics

plugin = SystemMetrics()

__all__ = ["SystemMetrics", "plugin"]
