"""Do metrics of the machine bear Comet's names there, and ours when they come back?"""

from __future__ import annotations

import pytest

from trackyard.contract import Metric
from trackyard_comet.machine import from_comet, to_comet


@pytest.mark.parametrize(
    ("key", "value", "name", "there"),
    [
        ("system/cpu_utilization_percentage", 12.5, "sys.cpu.percent.avg", 12.5),
        ("system/system_memory_usage_megabytes", 2.5, "sys.ram.used", 2_500_000),
        ("system/gpu_1_power_usage_watts", 70.0, "sys.gpu.1.power_usage", 70_000),
        ("system/gpu_0_of_another", 1.0, "sys.gpu.0.of_another", 1.0),
        ("system/process_count", 3.0, "sys.process_count", 3.0),
        ("loss", 0.5, "loss", 0.5),
    ],
)
def test_a_metric_is_named_and_measured_as_comet_does_and_comes_back(key, value, name, there):
    metric = Metric(key, value, 7, 1)
    sent = to_comet(metric)

    assert sent == Metric(name, there, 7, 1)
    assert from_comet(sent) == metric
