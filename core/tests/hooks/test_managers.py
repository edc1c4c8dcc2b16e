"""Is a tracker's plugin manager made once, and does each run still have its own instance?"""

from __future__ import annotations

import threading
from pathlib import Path

import pluggy
import pytest

from trackyard import hookimpl
from trackyard.contract import Run
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.managers import TrackerManager

RUN = Run("0" * 32, "name", "experiment", 1, Path())


class Tracker:
    def __init__(self, name):
        self.name = name
        self.meeting = threading.Barrier(2, timeout=60)

    @hookimpl
    def tracker_remote_id(self, run):
        return f"{self.name} of {run.name}"

    @hookimpl
    def tracker_url(self):
        self.meeting.wait()
        return f"http://{self.name}"

    @staticmethod
    @hookimpl
    def tracker_ui_command(host, port):
        return [host, str(port)]


class Listening:
    def __init__(self):
        self.heard = []

    @hookimpl
    def tracker_end_run(self, run):
        self.heard.append(run.id)


@pytest.fixture
def made(monkeypatch):
    """Gives the managers that pluggy makes from now on."""
    made = []
    real = pluggy.PluginManager.__init__

    def init(self, *arguments):
        made.append(self)
        real(self, *arguments)

    monkeypatch.setattr(pluggy.PluginManager, "__init__", init)
    return made


def test_a_hundred_runs_of_a_flavor_make_one_manager(made):
    class Fresh(Tracker):
        pass

    plugins = [("listening", Listening())]
    hooks = [TrackerHooks(Fresh(f"run {i}"), "local", plugins) for i in range(100)]

    assert [one.remote_id(RUN) for one in hooks] == [f"run {i} of name" for i in range(100)]
    assert len(made) == 1


def test_hooks_that_run_at_once_are_those_of_their_own_instances():
    first, second = Tracker("first"), Tracker("second")
    second.meeting = first.meeting  # each waits inside its hook until the other is there
    given = {}

    def ask(tracker):
        given[tracker.name] = TrackerManager(tracker, ()).call("tracker_url", run=RUN)

    threads = [threading.Thread(target=ask, args=(tracker,)) for tracker in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert given == {"first": "http://first", "second": "http://second"}


def test_other_plugins_make_another_manager():
    listening, other = Listening(), Listening()
    for plugin in (listening, other):
        TrackerManager(Tracker("one"), [("listening", plugin)]).call("tracker_end_run", run=RUN)

    assert listening.heard == other.heard == [RUN.id]


def test_a_static_hook_and_one_that_an_instance_alone_has_are_called():
    tracker = Tracker("one")
    call = {"host": "here", "port": 1}
    assert TrackerManager(tracker, ()).call("tracker_ui_command", **call) == ["here", "1"]

    tracker.tracker_ui_command = hookimpl(lambda host: [host])
    assert TrackerManager(tracker, ()).call("tracker_ui_command", **call) == ["here"]
