"""Does a pipeline run keep its results and statuses where the store is away meanwhile?"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from threading import Thread

import postgresql
import pytest
from isolated import Shared

from trackyard import Client, log_metric, pipeline, step
from trackyard.project.configuration import find_project
from trackyard.recovery.drivers import find_dead_drivers
from trackyard.recovery.finishing import end_the_dead

STACK = """
store = "{url}"

[stacks.default]
experiment_trackers = ["local"]

"""


class Door:
    """A way to a server that can be shut: then nobody gets in, and who is in is thrown out."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._inside: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        while self._inside:
            end = self._inside.pop()
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has left

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._inside += [client, server]
            for one, other in ((client, server), (server, client)):
                Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        finally:
            other.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with postgresql.database(tmp_path_factory) as url:
        yield url


@pytest.fixture
def door(server, project):
    """Give the way to the project's store."""
    where, _, database = server.rpartition("/")
    place, _, port = where.rpartition(":")
    door = Door(int(port))
    project.configure(STACK.format(url=f"{place}:{door.port}/{database}"))
    project.add_tracker("local", Shared)
    yield door
    door.shut()


@step
def first() -> int:
    return 1


@step(experiment_tracker=True)
def meanwhile(value: int) -> int:
    log_metric("value", value)
    return value + 1


def statuses():
    return {name: s.status for name, s in Client().list_pipeline_runs()[0].steps.items()}


def test_store_that_is_away_for_a_while_lacks_nothing(door, project, caplog):
    called = []

    @step
    def shut(value: int) -> int:
        door.shut()
        return value

    @step(after="meanwhile")
    def mend() -> None:
        door.open()

    @pipeline
    def suffering():
        noting = meanwhile.with_options(on_success=called.append)
        noting(shut(first()))
        mend()

    run = suffering()

    assert run.status == "finished"
    assert set(statuses().values()) == {"finished"}
    made = Client().get_output("meanwhile.output")
    assert (made.load(), made.made_by.metrics) == (2, {"value": 1.0})
    assert Client().get_output("shut.output").read_by[0].name == "meanwhile"
    assert [(found.status, found.outputs["output"].load()) for found in called] == [("finished", 2)]
    assert "the store is away, and gets what it lacks later: " in caplog.text
    assert list((project.root / ".trackyard" / "drivers").glob("*.json")) == []


def test_store_that_stays_away_gets_everything_from_recovery(door, project, monkeypatch, caplog):
    monkeypatch.setattr("trackyard.pipelines.recording._PATIENCE", 0.3)

    @step
    def shut(value: int) -> int:
        door.shut()
        return value

    @step(experiment_tracker=True, after="meanwhile")
    def failing() -> None:
        raise ValueError("odd")

    @pipeline
    def suffering():
        meanwhile(shut(first()))
        failing()

    with pytest.raises(ValueError, match="odd"):
        suffering()

    assert "once it is back, type: trackyard sync" in caplog.text
    assert [call["failure"]["status"] for call in project.calls("fail")] == ["failed"]
    door.open()
    assert statuses() == {"first": "finished", "shut": "running"}
    for _ in range(2):  # a second time changes nothing
        end_the_dead(find_project())
        assert statuses() == {
            "first": "finished",
            "shut": "finished",
            "meanwhile": "finished",
            "failing": "failed",
        }
    assert find_dead_drivers(find_project().home) == []
    run = Client().list_pipeline_runs()[0]
    assert (run.status, run.steps["failing"].error) == ("failed", "ValueError: odd")
    assert Client().get_output("meanwhile.output").load() == 2


def test_store_that_goes_away_at_the_very_end_is_said_once(door, monkeypatch, caplog):
    monkeypatch.setattr("trackyard.pipelines.recording._PATIENCE", 1.0)

    run = pipeline(first.with_options(on_success=lambda _: door.shut()))()

    assert run.status == "finished"
    assert caplog.text.count("the store is away, and gets what it lacks later") == 1
    door.open()
    end_the_dead(find_project())
    assert Client().list_pipeline_runs()[0].status == "finished"


def test_driver_that_is_killed_while_the_store_is_away_leaves_true_statuses(door, project):
    (project.root / "driver.py").write_text("""
import os, pathlib, signal, sys, time
from trackyard import log_metric, pipeline, step
@step(experiment_tracker=True)
def wait() -> int:
    print("up", flush=True)
    sys.stdin.readline()
    return 1
@step(experiment_tracker=True)
def meanwhile(value: int) -> int:
    log_metric("value", value)
    return value + 1
@step(experiment_tracker=True)
def dying(value: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
@pipeline
def suffering():
    dying(meanwhile(wait()))
suffering()
""")
    driver = subprocess.Popen(
        [sys.executable, "driver.py"],
        cwd=project.root,
        env=project.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout.readline() == "up\n"
    door.shut()
    driver.communicate("\n", timeout=60)
    assert driver.returncode == -signal.SIGKILL

    door.open()
    end_the_dead(find_project())

    assert statuses() == {"wait": "finished", "meanwhile": "finished", "dying": "crashed"}
    assert Client().list_pipeline_runs()[0].status == "crashed"
    assert Client().get_output("suffering.meanwhile.output").load() == 2


def test_store_that_is_away_at_the_start_gets_everything_later(door, caplog):
    ran = []
    door.shut()
    pipeline(step(lambda: ran.append(1), name="load"), name="early")()

    assert ran == [1]
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "cannot be opened" in line]) == 1
    door.open()
    end_the_dead(find_project())
    (run,) = Client().list_pipeline_runs("early")
    assert (run.status, run.steps["load"].status) == ("finished", "finished")
