"""Does each run get what its machine and its processes use, whoever samples it?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from trackyard_system_metrics import SystemMetrics
from trackyard_system_metrics.gpus import Gpus
from trackyard_system_metrics.samples import Process, Sample, Sampler, metrics_of, tree_of
from trackyard_system_metrics.sharing import SharedSampler

# MLflow's own names, as `mlflow.system_metrics` writes them.
OF_MLFLOW = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/disk_usage_percentage",
    "system/disk_usage_megabytes",
    "system/disk_available_megabytes",
    "system/network_receive_megabytes",
    "system/network_transmit_megabytes",
}
NVML = r"""
#include <stdlib.h>
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int gpu, memory; } utilization_t;
int nvmlInitWithFlags(unsigned int f) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned int *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **h)
{ *h = (void *)(size_t)(i + 1); return 0; }
int nvmlDeviceGetMemoryInfo(void *h, memory_t *m)
{ m->total = 8000000000ull; m->used = 2000000000ull; m->free = 6000000000ull; return 0; }
int nvmlDeviceGetUtilizationRates(void *h, utilization_t *u) { u->gpu = 40 + (size_t)h; return 0; }
int nvmlDeviceGetPowerUsage(void *h, unsigned int *w)
{ if ((size_t)h == 2) return 3; *w = 150000; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *h, unsigned int *w) { *w = 300000; return 0; }
int nvmlDeviceGetTemperature(void *h, int kind, unsigned int *c) { *c = 61; return 0; }
const char *nvmlErrorString(int code) { return "Not Supported"; }
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Share samples with nobody else, and often."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TRACKYARD_SYSTEM_METRICS_INTERVAL", "0.2")
    return tmp_path


@pytest.fixture
def shared():
    """Give samplers as several processes would have them, and close them."""
    samplers = [SharedSampler(), SharedSampler()]
    yield samplers
    for sampler in samplers:
        sampler.close()


def observed(enough, plugin=None):
    """Observe a run until it was logged so often; give what was logged."""
    logged = []
    with (plugin or SystemMetrics()).tracker_observe_run(log=logged.append):
        end = time.monotonic() + 60
        while len(logged) < enough and time.monotonic() < end:
            time.sleep(0.02)
    return logged


def test_run_gets_the_metrics_of_mlflows_page_and_of_its_own_processes():
    logged = observed(2)

    assert set(logged[0]) >= OF_MLFLOW
    assert logged[0]["system/process_count"] >= 1
    assert 0 < logged[0]["system/process_memory_usage_megabytes"] < 1e6
    assert 0 <= logged[0]["system/cpu_utilization_percentage"] <= 100
    assert all(isinstance(value, float | int) for value in logged[0].values())


def test_short_run_gets_none_and_samples_nothing(own_folder):
    assert observed(0) == []
    assert list(own_folder.iterdir()) == []


def test_runs_side_by_side_share_a_thread_that_ends_with_the_last():
    import threading

    others = {*threading.enumerate()}  # of runs that other tests left open

    def served():
        own = {*threading.enumerate()} - others
        return [thread for thread in own if thread.name == "trackyard-system-metrics"]

    plugin, logged = SystemMetrics(), []
    with plugin.tracker_observe_run(log=logged.append):
        assert observed(1, plugin)
        assert len(served()) == 1
    end = time.monotonic() + 60
    while served() and time.monotonic() < end:
        time.sleep(0.01)
    assert served() == []


def test_processes_share_one_sampler(shared, own_folder):
    first = Sampler()
    code = (
        "import sys; from trackyard_system_metrics.sharing import SharedSampler\n"
        "s = SharedSampler(); s.sample(60.0); print('leads', s.is_leader, flush=True)\n"
        "sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as leader:
        assert leader.stdout.readline() == "leads True\n"
        follower = shared[0]
        sample = follower.sample(60.0)
        written = json.loads(next(own_folder.glob("*/sample.json")).read_text())
        assert not follower.is_leader
        assert sample.time == written[0]
        leader.stdin.close()
        assert leader.wait(60) == 0
    assert follower.sample(60.0).time > sample.time
    assert follower.is_leader  # the one before has ended
    first.close()


def test_stale_sample_of_a_stopped_process_is_not_believed(shared, own_folder, monkeypatch):
    leader, follower = shared
    old = leader.sample(0.1)
    monkeypatch.setattr(follower, "_lead", lambda: False)  # as in another process
    end = time.monotonic() + 60
    while follower.sample(0.1).time == old.time and time.monotonic() < end:
        time.sleep(0.05)
    assert follower.sample(0.1).time > old.time


def test_folder_of_somebody_else_is_not_used(own_folder):
    folder = own_folder / f"trackyard-system-metrics-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    sampler = SharedSampler()
    assert sampler.sample(1.0).total > 0
    sampler.close()

    assert list(folder.iterdir()) == []


def test_machine_that_cannot_be_looked_at_is_said_once(monkeypatch, caplog):
    def fail(_):
        raise PermissionError("no /proc here")

    monkeypatch.setattr(SharedSampler, "sample", fail)
    plugin = SystemMetrics()
    with plugin.tracker_observe_run(log=fail):
        end = time.monotonic() + 60
        while "not logged any more" not in caplog.text and time.monotonic() < end:
            time.sleep(0.02)

    assert caplog.text.count("system metrics are not logged any more: ") == 1


def test_tree_holds_children_of_children_and_nobody_else():
    processes = [Process(n, parent, 0.0, 1.0, 10) for n, parent in ((1, 0), (5, 1), (6, 5), (7, 1))]

    assert [p.number for p in tree_of(processes, 5)] == [5, 6]


def test_share_of_the_processor_is_what_was_used_since():
    def sample(at, *processes):
        return Sample(at, at, 2 * at, {}, {"disk_read_megabytes": at}, list(processes))

    first = sample(10.0, Process(5, 1, 0.0, 1.0, 10))
    now = sample(20.0, Process(5, 1, 0.0, 6.0, 10), Process(6, 5, 0.0, 5.0, 10))
    metrics = metrics_of(first, first, now, 5)

    assert metrics["system/process_cpu_utilization_percentage"] == 100.0  # 5 s of each, in 10 s
    assert metrics["system/cpu_utilization_percentage"] == 50.0
    assert metrics["system/disk_read_megabytes"] == 10.0
    assert metrics["system/process_count"] == 2.0


def test_machine_without_gpus_has_no_metrics_of_any():
    code = "from trackyard_system_metrics.gpus import Gpus; print(Gpus().gauges())"
    environment = {**os.environ, "LD_LIBRARY_PATH": ""}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert result.stdout == f"{Gpus().gauges()}\n"


def test_each_gpu_tells_what_nvml_says(tmp_path):
    """No GPU is needed: a small library with NVML's entry points stands in for the driver's."""
    source, library = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(NVML)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    code = (
        "import json; from trackyard_system_metrics.gpus import Gpus\n"
        "gpus = Gpus(); print(json.dumps(gpus.gauges())); gpus.close()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )

    assert json.loads(result.stdout) == {
        "gpu_0_memory_usage_megabytes": 2000.0,
        "gpu_0_memory_usage_percentage": 25.0,
        "gpu_0_utilization_percentage": 41.0,
        "gpu_0_power_usage_watts": 150.0,
        "gpu_0_power_usage_percentage": 50.0,
        "gpu_0_temperature_celsius": 61.0,
        "gpu_1_memory_usage_megabytes": 2000.0,
        "gpu_1_memory_usage_percentage": 25.0,
        "gpu_1_utilization_percentage": 42.0,
        "gpu_1_temperature_celsius": 61.0,
    }
