"""Do steps keep every promise on a node that does not see the driver's folder, and is lost?"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
from left_behind import wait_until
from ray_clusters import up_in_time

MODULES = Path(__file__).parents[3] / "core" / "tests" / "modules"
sys.path.append(str(MODULES))

import trackyard  # noqa: E402
from trackyard import Client, log_metric, log_text, pipeline, step  # noqa: E402
from trackyard.journal.descriptions import load_description  # noqa: E402
from trackyard.journal.shipping import local_folder  # noqa: E402
from trackyard.pipelines.parcels import check_artifact_store  # noqa: E402
from trackyard.runs.health import health_of  # noqa: E402

CONFIGURATION = """
[experiment_trackers.local]
flavor = "isolated:Shared"
directory = "{calls}"

[stacks.default]
experiment_trackers = ["local"]
orchestrator = "ray"
ship_journals = {ship_journals}
artifact_store = "{store}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("driver")


@pytest.fixture(scope="module")
def node(only_cluster):
    """Start a cluster of the driver's node and another one; give what ends the latter at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        import ray
        from ray.cluster_utils import Cluster

        patch.setenv("PYTHONPATH", os.pathsep.join([*filter(None, sys.path), str(MODULES)]))
        head = {"num_cpus": 1, "include_dashboard": False}
        clusters = []

        def start():
            clusters[:] = [Cluster(initialize_head=True, head_node_args=head)]
            ray.init(address=clusters[0].address, configure_logging=False, log_to_driver=False)
            return clusters[0].add_node(num_cpus=1, resources={"far": 1})

        def end():
            ray.shutdown()
            for cluster in clusters:
                cluster.shutdown()

        far_node = up_in_time(start, end)
    yield lambda: clusters[0].remove_node(far_node, allow_graceful=False)
    started = [found for found in gc.get_objects() if type(found) is subprocess.Popen]
    end()
    for process in started:  # Ray leaves its own to be found by the garbage collector
        if process.args and "ray" in str(process.args):
            process.wait(30)


@pytest.fixture(autouse=True)
def project(folder, node, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("TRACKYARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    monkeypatch.setenv("TRACKYARD_CONTEXT", "0")
    monkeypatch.chdir(folder)
    configure(tmp_path, tmp_path / "store")
    return tmp_path


def configure(calls, store, ship_journals="true"):
    text = CONFIGURATION.format(calls=calls, store=store, ship_journals=ship_journals)
    Path("trackyard.toml").write_text(text)


def calls(folder, hook):
    found = map(json.loads, (folder / "calls.jsonl").read_text().splitlines())
    return [call for call in found if call["hook"] == hook]


def logged(folder):
    return [metric[1] for call in calls(folder, "log") for metric in call["metrics"]]


@step(experiment_tracker=True, resources={"far": 1})
def far(dies: bool = False) -> str:
    for number in range(100):
        log_metric("number", number, step=number)
    log_text("a long text", "note.txt")
    log_metric("number", 100, step=100)
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return str(trackyard.current_run()._tracked.folder)


@step(experiment_tracker=True)
def near() -> int:
    return 1


@pytest.mark.slow
def test_journal_of_another_machine_arrives_whole(project):
    run = pipeline(far)()

    written = Path(run.steps["far"].outputs["output"].load())
    assert not written.is_relative_to(Path.cwd())
    wait_until(lambda: not written.exists())
    assert not written.exists()  # once all is shipped
    assert logged(project) == list(range(101))
    assert len(calls(project, "end")) == 1
    folder = Path(".trackyard/runs") / run.steps["far"].id
    (blob,) = folder.glob("blobs/*/note.txt")
    assert blob.read_text() == "a long text"


@pytest.mark.slow
def test_worker_that_dies_on_another_machine_loses_nothing(project):
    with pytest.raises(trackyard.StepCrashedError, match="WorkerCrashedError") as raised:
        pipeline(lambda: far(dies=True))()

    assert "lost" not in str(raised.value)
    assert logged(project) == list(range(101))
    assert calls(project, "fail")[0]["failure"]["status"] == "crashed"


@pytest.mark.slow
def test_node_that_does_not_see_the_drivers_folder_ships_by_itself(project, caplog):
    configure(project, project / "store", ship_journals="false")
    marks = str(Path(".trackyard/drivers").absolute())

    @step
    def hide() -> bool:
        for mark in Path(marks).glob("*.json"):
            mark.unlink()
        return False

    run = pipeline(lambda: far(hide()))()

    written = Path(run.steps["far"].outputs["output"].load())
    assert not written.is_relative_to(Path.cwd())
    assert logged(project) == list(range(101))
    assert "calls of an SDK itself do not land in a step's run there" in caplog.text


@pytest.mark.slow
def test_folder_of_another_user_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    place = tmp_path / f"trackyard-{os.getuid()}"
    assert local_folder("run").is_relative_to(place)

    place.symlink_to(tmp_path)
    assert local_folder("run").is_relative_to(tmp_path / "home")


@pytest.mark.slow
def test_artifact_store_of_another_machine_is_refused(project):
    with pytest.raises(trackyard.ConfigError, match=r"artifact_store: /nowhere is not on"):
        check_artifact_store("/nowhere")


@pytest.mark.long(reason="it waits until Ray takes a node for lost, 20 s")
def test_lost_node_costs_its_last_second(project, node):
    progress = project / "progress"
    progress.touch()
    killed = []

    @step(experiment_tracker=True, resources={"far": 1})
    def endless(path: str) -> None:
        number = 0
        with Path(path).open("w") as file:
            while True:
                log_metric("number", number, step=number)
                print(time.time(), number, file=file, flush=True)
                number += 1
                time.sleep(0.02)

    def kill():
        while progress.read_text().count("\n") < 150:
            time.sleep(0.05)
        node()
        killed.append(time.time())

    @pipeline
    def going_on():
        endless(str(progress))
        near()

    killer = Thread(target=kill)
    killer.start()
    with pytest.raises(trackyard.StepCrashedError, match=r"silent for .* s: .* is lost") as raised:
        going_on()
    killer.join()

    run = Client().list_pipeline_runs()[0]
    assert run.status == "crashed"
    assert {name: found.status for name, found in run.steps.items()} == {
        "endless": "crashed",
        "near": "finished",
    }
    (failed,) = calls(project, "fail")
    assert failed["failure"]["status"] == "crashed"
    assert "is lost" in failed["failure"]["message"]
    numbers = logged(project)
    assert numbers == list(range(len(numbers)))
    folder = Path(".trackyard/runs") / run.steps["endless"].id
    lines = [line.split() for line in progress.read_text().splitlines()]
    owed = [int(number) for when, number in lines if float(when) < killed[0] - 1.0]
    assert len(owed) > 30
    assert set(owed) <= set(numbers)
    # What is lost is counted, as well as the pace of late can tell.
    (health,) = health_of(folder, load_description(folder))
    assert health.lost == raised.value.lost
    assert 0 < health.lost < 200
    assert f"about {health.lost} log call(s)" in str(raised.value)
