"""Are the nodes of a real Kedro project tracked steps, whichever runner runs them?"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from matrices import first_by_default

MODULES = Path(__file__).parents[3] / "core" / "tests" / "modules"
FILES = {
    "pyproject.toml": """
[tool.kedro]
package_name = "demo"
project_name = "demo"
kedro_init_version = "1.0.0"
""",
    "trackyard.toml": """
[experiment_trackers.local]
flavor = "recorder:Recorder"
directory = "calls/local"

[experiment_trackers.other]
flavor = "recorder:Recorder"
directory = "calls/other"

[stacks.default]
experiment_trackers = ["local"]
""",
    "conf/base/parameters.yml": "rate: 0.1\n",
    "conf/base/catalog.yml": """
total:
  type: demo.files.TextFile
  path: total.txt
unwritable:
  type: demo.files.TextFile
  path: no/such/folder/file.txt
""",
    "conf/local/.gitkeep": "",
    "src/demo/__init__.py": "",
    "src/demo/settings.py": "",
    "src/demo/files.py": """
from pathlib import Path
from kedro.io import AbstractDataset
class TextFile(AbstractDataset):
    def __init__(self, path, metadata=None):
        self.path = Path(path)
    def load(self):
        return self.path.read_text()
    def save(self, data):
        self.path.write_text(str(data))
    def _describe(self):
        return {"path": str(self.path)}
""",
    "src/demo/nodes.py": """
import os, signal, time
import trackyard
def numbers():
    return [1, 2, 3]
def summed(values, rate):
    trackyard.log_metric("sum", sum(values))
    return str(sum(values) * rate)
def failing(values):
    trackyard.log_metric("before", 1.0)
    raise ValueError("odd")
def killed(values):
    trackyard.log_metric("before", 1.0)
    os.kill(os.getpid(), signal.SIGKILL)
def waiting(values):
    trackyard.log_metric("before", 1.0)
    open("up", "w").close()
    time.sleep(60)
def pieces():
    for number in range(3):
        trackyard.log_metric("piece", number)
        yield number
""",
    "src/demo/pipeline_registry.py": """
from kedro.pipeline import node, pipeline
from demo import nodes
def register_pipelines():
    start = node(nodes.numbers, None, "numbers", name="start")
    total = node(nodes.summed, ["numbers", "params:rate"], "total", name="total")
    def with_last(function, output=None, **options):
        return pipeline([start, node(function, "numbers", output, name="last", **options)])
    return {
        "__default__": pipeline([start, total]),
        "failing": with_last(nodes.failing),
        "killed": with_last(nodes.killed),
        "waiting": with_last(nodes.waiting),
        "tagged": pipeline([start, node(nodes.summed, ["numbers", "params:rate"], "total",
                                        name="total", tags=["track.other"])]),
        "unknown": with_last(nodes.failing, tags=["track.othr"]),
        "unsaved": pipeline([start, node(nodes.numbers, None, "unwritable", name="last")]),
        "pieces": pipeline([node(nodes.pieces, None, "total", name="stream")]),
    }
""",
}
RUNNERS = ["SequentialRunner", "ThreadRunner", "ParallelRunner"]


class KedroProject:
    """A Kedro project in a folder, and what its trackers were given."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def environment(self, **env):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TRACKYARD_")}
        kept.pop("COVERAGE_PROCESS_START", None)
        own = {"PYTHONPATH": f"{MODULES}{os.pathsep}src", "KEDRO_DISABLE_TELEMETRY": "1"}
        return kept | own | {"TRACKYARD_WATCHDOG": "0", "TRACKYARD_CONTEXT": "0"} | env

    def run(self, pipeline="__default__", runner="SequentialRunner", **env):
        """Run `kedro run` in the project."""
        command = [sys.executable, "-m", "kedro", "run", "--runner", runner]
        return subprocess.run(
            [*command, "--pipeline", pipeline],
            check=False,
            cwd=self.root,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def calls(self, hook, tracker="local"):
        path = self.root / "calls" / tracker / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if call["hook"] == hook]

    def stored(self):
        """Give the status of each pipeline run, and of each of its steps, from the store."""
        query = (
            "SELECT r.status, s.name, s.status FROM runs s "
            "JOIN runs r ON r.id = s.parent_id ORDER BY s.position"
        )
        with closing(sqlite3.connect(self.root / ".trackyard/store.db")) as connection:
            return connection.execute(query).fetchall()

    def logged(self, kind, tracker="local"):
        return [record for call in self.calls("log", tracker) for record in call[kind]]


@pytest.fixture
def kedro_project(tmp_path):
    return KedroProject(tmp_path)


@pytest.mark.parametrize("runner", first_by_default(RUNNERS))
def test_every_node_is_a_tracked_step(kedro_project, runner):
    result = kedro_project.run(runner=runner)

    assert result.returncode == 0, result.stderr + result.stdout
    starts = kedro_project.calls("start")
    assert [start["step"] for start in starts] == ["start", "total"]
    assert len({start["group"] for start in starts}) == 1
    assert kedro_project.logged("metrics") == [["sum", 6.0, None]]
    assert kedro_project.logged("params") == [["rate", 0.1]]
    assert len(kedro_project.calls("end")) == 2
    assert not kedro_project.calls("fail")
    assert kedro_project.stored() == [
        ("finished", "start", "finished"),
        ("finished", "total", "finished"),
    ]


@pytest.mark.parametrize("runner", first_by_default(RUNNERS))
def test_error_of_a_node_fails_its_run(kedro_project, runner):
    result = kedro_project.run("failing", runner)

    assert result.returncode == 1
    (failed,) = kedro_project.calls("fail")
    assert (failed["step"], failed["failure"]["status"]) == ("last", "failed")
    assert (failed["failure"]["kind"], failed["failure"]["message"]) == ("ValueError", "odd")
    assert [end["step"] for end in kedro_project.calls("end")] == ["start"]
    assert kedro_project.logged("metrics") == [["before", 1.0, None]]


@pytest.mark.slow
def test_killed_worker_is_a_crashed_step(kedro_project):
    assert kedro_project.run("killed", "ParallelRunner").returncode != 0
    subprocess.run(
        [sys.executable, "-m", "trackyard", "sync"],
        check=True,
        cwd=kedro_project.root,
        env=kedro_project.environment(),
        capture_output=True,
    )

    (failed,) = kedro_project.calls("fail")
    assert (failed["step"], failed["failure"]["status"]) == ("last", "crashed")
    assert ("crashed", "last", "crashed") in kedro_project.stored()
    assert ["before", 1.0, None] in kedro_project.logged("metrics")


@pytest.mark.parametrize(
    ("number", "code"),
    first_by_default([(signal.SIGINT, 1), (signal.SIGTERM, 143)]),
    ids=["Ctrl-C", "SIGTERM"],
)
def test_signal_stops_kedro_as_without_tracking_and_the_node_is_killed(kedro_project, number, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--pipeline", "waiting"],
        cwd=kedro_project.root,
        env=kedro_project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (kedro_project.root / "up").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)

    assert process.wait(40) == code
    (failed,) = kedro_project.calls("fail")
    assert (failed["step"], failed["failure"]["status"]) == ("last", "killed")
    assert ("killed", "last", "killed") in kedro_project.stored()
    assert kedro_project.logged("metrics") == [["before", 1.0, None]]


@pytest.mark.slow
def test_only_tagged_nodes_are_tracked_where_some_are(kedro_project):
    assert kedro_project.run("tagged").returncode == 0

    assert not kedro_project.calls("start")
    assert [start["step"] for start in kedro_project.calls("start", "other")] == ["total"]


@pytest.mark.slow
def test_unknown_tracker_is_said_before_anything_runs(kedro_project):
    result = kedro_project.run("unknown")

    assert result.returncode == 1
    text = " ".join((result.stdout + result.stderr).split())
    assert "node 'last', tag 'track.othr': no experiment tracker 'othr'" in text
    assert "'other'" in text
    assert not kedro_project.calls("start", "other")


@pytest.mark.parametrize("runner", first_by_default(RUNNERS))
def test_node_whose_output_is_not_saved_has_failed(kedro_project, runner):
    assert kedro_project.run("unsaved", runner).returncode == 1

    (failed,) = kedro_project.calls("fail")
    assert failed["step"] == "last"


@pytest.mark.slow
def test_node_that_gives_pieces_logs_until_the_last(kedro_project):
    result = kedro_project.run("pieces")

    assert result.returncode == 0, result.stderr
    assert [metric[1] for metric in kedro_project.logged("metrics")] == [0, 1, 2]
    assert len(kedro_project.calls("end")) == 1


@pytest.mark.slow
def test_what_is_switched_off_changes_nothing(kedro_project):
    assert kedro_project.run(TRACKYARD_DISABLE="1").returncode == 0

    assert (kedro_project.root / "total.txt").read_text().startswith("0.6")
    assert not kedro_project.calls("start")
