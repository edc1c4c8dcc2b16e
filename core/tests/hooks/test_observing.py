"""Do plugins watch a run without the step ever noticing?"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import trackyard
from trackyard import Client, hookimpl
from trackyard.contract import Run
from trackyard.hooks import observing
from trackyard.hooks.observing import observed

RUN = Run("0" * 32, "name", "experiment", 1, Path())


class Watching:
    """Log a number when it is entered and when it is left; keep what it saw."""

    def __init__(self):
        self.seen = []
        self.entered = threading.Event()

    @hookimpl
    @contextmanager
    def tracker_observe_run(self, run, log):
        self.log = log
        log({"entered": 1})
        self.entered.set()
        self.seen.append((run.name, threading.current_thread()))
        yield
        log({"left": 2.5}, 7)


def logged_by(plugin, body=lambda: None):
    logged = []
    with observed([("watching", plugin)], RUN, lambda *call: logged.append(call)):
        body()
    return logged


def test_context_is_open_while_the_run_is_on_a_thread_that_serves_the_next_run_or_ends():
    plugin = Watching()
    logged = logged_by(plugin, lambda: plugin.entered.wait(30))

    assert logged == [({"entered": 1}, None), ({"left": 2.5}, 7)]
    logged_by(plugin)
    (name, thread), (_, next_thread) = plugin.seen
    assert name == "name"
    assert thread is not threading.current_thread()
    assert thread is next_thread
    thread.join(60)
    assert not thread.is_alive()


def test_plugin_that_has_no_use_for_short_runs_is_not_woken_for_them():
    class Patient(Watching):
        observes_after = 0.05

    plugin, threads = Patient(), {*threading.enumerate()}
    assert logged_by(plugin) == []
    (awaiting,) = {*threading.enumerate()} - threads
    assert logged_by(plugin, lambda: plugin.entered.wait(30)) == [
        ({"entered": 1}, None),
        ({"left": 2.5}, 7),
    ]
    awaiting.join(60)
    assert not awaiting.is_alive()
    assert len(plugin.seen) == 1


def test_what_is_logged_after_the_end_does_nothing():
    plugin = Watching()
    logged = logged_by(plugin)
    before = [*logged]
    plugin.log({"late": 1})

    assert logged == before


class Raising:
    def __init__(self, where):
        self.where = where

    @hookimpl
    def tracker_observe_run(self):
        if self.where == "hook":
            raise SystemExit(3)
        return self

    def __enter__(self):
        if self.where == "enter":
            raise ValueError("broken")

    def __exit__(self, *_):
        raise ValueError("broken")


@pytest.mark.parametrize("where", ["hook", "enter", "exit"])
def test_what_it_raises_is_logged_and_harms_nothing(where, caplog):
    assert logged_by(Raising(where)) == []
    assert "plugin 'watching': tracker_observe_run: " in caplog.text


def test_context_that_is_none_is_said(caplog):
    class Odd:
        @hookimpl
        def tracker_observe_run(self):
            return 5

    logged_by(Odd())
    assert "plugin 'watching': tracker_observe_run: " in caplog.text


def test_one_that_hangs_is_left_alone(monkeypatch, caplog):
    class Hanging:
        ending = threading.Event()

        @hookimpl
        @contextmanager
        def tracker_observe_run(self):
            yield
            self.ending.wait(60)

    monkeypatch.setattr(observing, "PATIENCE", 0.05)
    began = time.monotonic()
    logged_by(Hanging())
    Hanging.ending.set()

    assert time.monotonic() - began < 30
    assert "tracker_observe_run has not ended with its run; it is left alone" in caplog.text


def test_plugin_without_the_hook_costs_no_thread():
    before = threading.active_count()
    with observed([("other", object())], RUN, print):
        assert threading.active_count() == before


def test_steps_exceptions_pass():
    with pytest.raises(ZeroDivisionError):
        logged_by(Watching(), lambda: 1 / 0)


OBSERVER = """
from contextlib import contextmanager
from os import getpid
from trackyard import hookimpl

@hookimpl
@contextmanager
def tracker_observe_run(run, log):
    yield
    log({"process": getpid(), "odd": "no number"})
"""


@trackyard.step
def step() -> int:
    import os

    return os.getpid()


@trackyard.pipeline
def pipeline() -> None:
    step()


@pytest.mark.parametrize("orchestrator", ["local", "process"])
def test_run_is_observed_in_its_own_process(project, monkeypatch, install, orchestrator):
    folder = install("observer", {}, plugins={"observer": "observer_module"})
    (folder / "observer_module.py").write_text(OBSERVER)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    project.configure(
        f"[stacks.default]\norchestrator = '{orchestrator}'\nexperiment_trackers = []\n"
    )
    run = pipeline()

    (view,) = Client().get_run(run.name).steps
    process = Client().get_output("pipeline.step.output").load()
    assert {m.key: m.last for m in view.metrics} == {"process": float(process)}
    assert "observer_module" in sys.modules
