"""Do the mistakes of a plugin for every tracker stay with it?"""

from __future__ import annotations

import json

import pytest
from raising import (
    BATCH,
    ERRORS,
    RUN,
    Counting,
    Plain,
    Plugin,
    Raising,
    hooks_of,
)
from recorder import Recorder

from trackyard import (
    RetryLater,
    flavor,
    hookimpl,
    start_run,
)


class Wrapping(Plugin):
    @hookimpl(wrapper=True)
    def tracker_log(self, run, batch):
        self.seen.append("before")
        self.fail("before")
        try:
            result = yield
        except BaseException as error:
            self.seen.append(type(error).__name__)
            self.fail("error")
            raise
        self.seen.append("after")
        self.fail("after")
        return result


class Hiding(Plugin):
    @hookimpl(wrapper=True)
    def tracker_log(self, run, batch):
        try:
            return (yield)
        except ValueError:
            return []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("plugin", "place"),
    [(Plain, "before"), (Wrapping, "before"), (Wrapping, "after")],
)
def test_plugin_that_raises_neither_stops_nor_repeats_a_delivery(plugin, place, error, caplog):
    tracker, other = Counting(), Plain()
    outcome = hooks_of(tracker, plugin(error, place), other).log(RUN, BATCH)

    assert outcome.kind == "done"
    assert tracker.got == [BATCH]
    assert other.seen == ["log"]
    assert f"plugin 'plugin 0': tracker_log: {type(error).__name__}: " in caplog.text


@pytest.mark.parametrize("place", ["none", "before", "error"])
def test_plugin_sees_the_error_of_a_hook_and_cannot_change_it(place):
    wrapping = Wrapping(SystemExit(), place)
    outcome = hooks_of(Counting(error=RetryLater("busy", after=3)), wrapping).log(RUN, BATCH)

    assert (outcome.kind, outcome.after) == ("later", 3)
    assert wrapping.seen == ["before", *(["RetryLater"] if place != "before" else [])]


def test_plugin_cannot_hide_the_error_of_a_hook():
    outcome = hooks_of(Counting(error=ValueError("odd")), Hiding()).log(RUN, BATCH)

    assert outcome.kind == "broken"


def test_plugin_that_never_yields_stops_nothing():
    class Never:
        @hookimpl(wrapper=True)
        def tracker_log(self, run, batch):
            if batch is None:
                yield

    tracker = Counting()
    outcome = hooks_of(tracker, Never()).log(RUN, BATCH)

    assert (outcome.kind, tracker.got) == ("done", [BATCH])


def test_plugin_that_yields_twice_stops_nothing():
    class Twice:
        @hookimpl(wrapper=True)
        def tracker_log(self, run, batch):
            yield
            yield

    tracker = Counting()
    outcome = hooks_of(tracker, Twice()).log(RUN, BATCH)

    assert (outcome.kind, tracker.got) == ("done", [BATCH])


def test_arguments_of_a_plugin_may_have_defaults():
    got = []

    class Lenient:
        @hookimpl
        def tracker_log(self, run, batch=None):
            got.append(batch)

        @hookimpl(wrapper=True)
        def tracker_end_run(self, run=None):
            got.append(run)
            return (yield)

    hooks = hooks_of(Counting(), Lenient())

    assert hooks.log(RUN, BATCH).kind == hooks.end_run(RUN).kind == "done"
    assert got == [BATCH, RUN]


def test_plugin_may_be_of_static_and_class_methods():
    got = []

    class Static:
        @staticmethod
        @hookimpl
        def tracker_log(run, batch):
            got.append("static")

        @classmethod
        @hookimpl
        def tracker_end_run(cls, run):
            got.append("class")

    hooks = hooks_of(Counting(), Static())
    hooks.log(RUN, BATCH)
    hooks.end_run(RUN)

    assert got == ["static", "class"]


def test_plugin_may_bear_another_name_than_the_hook():
    got = []

    class Renamed:
        @hookimpl(specname="tracker_log")
        def audit(self, batch):
            got.append(batch)

    hooks_of(Counting(), Renamed()).log(RUN, BATCH)

    assert got == [BATCH]


def test_plugin_hears_of_a_start_and_cannot_move_the_cursor():
    heard = []

    class Notify:
        @hookimpl
        def tracker_start_run(self, run):
            heard.append(run.id)
            return 200

    @flavor
    class Resuming:
        cursor: int | None = None

        @hookimpl
        def tracker_start_run(self, run):
            return self.cursor

    assert hooks_of(Resuming(), Notify()).start_run(RUN).value is None
    assert hooks_of(Resuming(cursor=7), Notify()).start_run(RUN).value == 7
    assert heard == [RUN.id, RUN.id]


def test_plugin_hears_of_no_start_that_failed():
    heard = []

    class Notify:
        @hookimpl
        def tracker_start_run(self, run):
            heard.append(run.id)

    hooks_of(Raising(hook="tracker_start_run"), Notify()).start_run(RUN)

    assert heard == []


def test_plugin_may_add_to_the_problems():
    class Doctor:
        @hookimpl
        def tracker_check(self):
            return ["disk is full"]

    assert sorted(hooks_of(Raising(), Doctor()).check()) == ["disk is full", "no server"]


def test_plugins_of_one_run_do_not_reach_another():
    plain = Plain()
    hooks_of(Counting(), plain)
    hooks_of(Counting()).log(RUN, BATCH)

    assert plain.seen == []


def test_installed_plugin_that_is_broken_is_named_and_the_run_goes_on(project, install, caplog):
    install("broken", {"broken": "1 / 0"}, plugins={"broken": "broken"})
    project.add_tracker("local", Recorder)
    with start_run() as run:
        run.log_metric("a", 1)

    assert project.hooks() == ["start", "log", "end"]
    assert "plugin 'broken' from broken 1.0 cannot be loaded" in caplog.text


AUDIT = """
import json, pathlib
from trackyard import hookimpl

def note(*what):
    with pathlib.Path("audit.jsonl").open("a") as file:
        print(json.dumps(what), file=file)

@hookimpl(wrapper=True)
def tracker_log(run, batch):
    result = yield
    note("log", len(batch))
    raise RuntimeError("audit is broken")

@hookimpl
def tracker_end_run(run):
    note("end", run.name)
    raise SystemExit
"""


def test_installed_plugin_sees_what_is_delivered(project, install):
    install("audit", {"audit_module": AUDIT}, plugins={"audit": "audit_module"})
    project.add_tracker("local", Recorder)
    with start_run("baseline") as run:
        run.log_metrics({"a": 1, "b": 2})
    lines = (project.root / "audit.jsonl").read_text().splitlines()

    assert [json.loads(line) for line in lines] == [["log", 2], ["end", "baseline"]]
    assert project.hooks() == ["start", "log", "end"]
    assert len(project.logged("metrics")) == 2
