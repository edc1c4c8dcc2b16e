"""Do the mistakes of a tracker stay with it, whichever hook it makes them in?"""

from __future__ import annotations

import errno
import math
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import attrs
import pytest
from raising import (
    BATCH,
    ERRORS,
    FAILURE,
    METRIC,
    RUN,
    Counting,
    Crash,
    Plain,
    Raising,
    hooks_of,
    passed,
)
from recorder import Recorder

from trackyard import (
    RejectedRecords,
    RetryLater,
    Tag,
    flavor,
    hookimpl,
    start_run,
)
from trackyard.contract import CredentialRefused, RunDeleted, TooLarge
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.redaction.redactor import Redactor, without_credentials
from trackyard.system.interruption import Terminated

CALLS = {
    "tracker_start_run": lambda hooks: hooks.start_run(RUN),
    "tracker_log": lambda hooks: hooks.log(RUN, BATCH),
    "tracker_end_run": lambda hooks: hooks.end_run(RUN),
    "tracker_fail_run": lambda hooks: hooks.fail_run(RUN, FAILURE),
    "tracker_ui_command": lambda hooks: hooks.ui_command("host", 1),
}


# One tracker


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("hook", CALLS)
def test_error_of_a_hook_becomes_an_outcome(hook, error):
    outcome = CALLS[hook](hooks_of(Raising(hook=hook, error=error)))

    # Without memory no hook is broken: there may be some later.
    assert outcome.kind == ("later" if isinstance(error, MemoryError) else "broken")
    assert outcome.reason.startswith(f"{hook}: {type(error).__name__}: ")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("hook", ["tracker_activate_run", "enter", "leave"])
def test_error_around_the_step_never_reaches_it(hook, error, caplog):
    done = []
    with hooks_of(Raising(hook=hook, error=error)).activated(RUN):
        done.append("step")

    assert done == ["step"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_of_the_url_is_no_url(error):
    assert hooks_of(Raising(hook="tracker_url", error=error)).url(RUN) is None


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_of_the_check_is_one_of_the_problems(error):
    (problem,) = hooks_of(Raising(hook="tracker_check", error=error)).check()

    assert problem.startswith(f"tracker_check: {type(error).__name__}")


class Hanging(Raising):
    """Hang in one place until an exception ends it."""

    def call(self, hook, value=None):
        if hook == self.hook:
            while True:
                time.sleep(0.01)
        return value


@pytest.mark.parametrize("in_main_thread", [True, False])
@pytest.mark.parametrize("hook", ["tracker_activate_run", "enter", "leave"])
def test_activation_that_hangs_is_interrupted(hook, in_main_thread, caplog):
    done = []
    hooks = TrackerHooks(Hanging(hook=hook, error=None), "local", hook_timeout=0.1)

    def work():
        with hooks.activated(RUN):
            done.append("step")

    if in_main_thread:
        work()
    else:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(30)

    assert done == ["step"]
    assert "tracker_activate_run: it took too long and was interrupted" in caplog.text


@pytest.mark.parametrize("hook", ["tracker_activate_run", "enter", "leave"])
def test_termination_comes_through_an_activation(hook):
    hooks = hooks_of(Raising(hook=hook, error=Terminated()))

    with pytest.raises(Terminated), hooks.activated(RUN):
        pass


@pytest.mark.parametrize("hook", [hook for hook in CALLS if hook != "tracker_ui_command"])
def test_interrupt_of_the_user_comes_through(hook):
    with pytest.raises(KeyboardInterrupt):
        CALLS[hook](hooks_of(Raising(hook=hook, error=KeyboardInterrupt())))


class Patient(Recorder):
    """The user presses Ctrl-C while a command waits for it."""

    @hookimpl
    def tracker_check(self):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        threading.Event().wait(30)


def test_interrupt_of_the_user_ends_a_command_that_waits_for_a_hook():
    with pytest.raises(KeyboardInterrupt):
        hooks_of(Patient()).check()


class Stuck(Recorder):
    """Hangs in the hooks that commands call."""

    release = threading.Event()

    def stay(self):
        self.release.wait(30)

    @hookimpl
    def tracker_check(self):
        self.stay()

    @hookimpl
    def tracker_ui_command(self, host, port):
        self.stay()

    @hookimpl
    def tracker_read_run(self, run):
        yield Tag("first", "tag")
        self.stay()

    @hookimpl
    def tracker_sync_run(self, run):
        self.stay()


def test_commands_wait_for_a_hook_that_hangs_as_long_as_is_said(monkeypatch):
    monkeypatch.setattr("trackyard.hooks.dispatch._COMMAND_DEADLINE", 0.05)
    monkeypatch.setattr("trackyard.hooks.dispatch._READ_DEADLINE", 0.05)
    hooks = hooks_of(Stuck())
    begun = time.monotonic()
    short = attrs.evolve(RUN, deadline=0.05)
    try:
        assert hooks.check() == ["tracker_check: has not returned for 0.05 s"]
        assert "tracker_ui_command: has not" in hooks.ui_command("host", 1).reason
        assert "tracker_read_run: has not" in hooks.read_run(RUN).reason
        assert "tracker_sync_run: has not" in hooks.upload_run(short).reason
        assert time.monotonic() - begun < 20
    finally:
        Stuck.release.set()


def test_secrets_of_a_tracker_stay_out_of_its_errors(caplog):
    error = RuntimeError("401 for key hunter2-hunter2")
    redactor = Redactor(["hunter2-hunter2"])
    caplog.set_level("DEBUG", "trackyard")
    for hook, call in CALLS.items():
        hooks = TrackerHooks(Raising(hook=hook, error=error), "local", redactor=redactor)
        assert call(hooks).reason == f"{hook}: RuntimeError: 401 for key ***"
    for hook in ("tracker_activate_run", "enter", "leave"):
        hooks = TrackerHooks(Raising(hook=hook, error=error), "local", redactor=redactor)
        with hooks.activated(RUN):
            pass

    assert "401 for key ***" in caplog.text
    assert "hunter2" not in caplog.text


def test_hooks_give_what_the_tracker_gives():
    hooks = hooks_of(Raising())

    assert hooks.start_run(RUN).kind == "done"
    assert hooks.url(RUN) == "https://tracker.test/run"
    assert hooks.check() == ["no server"]
    assert hooks.ui_command("host", 1).value == ["serve", "host", "1"]
    with hooks.activated(RUN) as native:
        assert native == "native"


@flavor
class Bare:
    """Implements nothing."""


def test_tracker_may_implement_nothing():
    hooks = hooks_of(Bare())

    assert all(CALLS[hook](hooks).kind == "done" for hook in CALLS)
    assert hooks.url(RUN) is None
    assert hooks.check() == []
    with hooks.activated(RUN) as native:
        assert native is None


class Broken(RetryLater):
    """Made without its base's fields."""

    def __init__(self):
        pass


@pytest.mark.parametrize(
    ("error", "kind", "after"),
    [
        (RetryLater("busy"), "later", None),
        (RetryLater("busy", after=3), "later", 3.0),
        (RetryLater("busy", after="soon"), "later", None),
        (RetryLater("busy", after=math.nan), "later", None),
        (RetryLater("busy", after=-1), "later", None),
        (Broken(), "later", None),
        (ConnectionError("refused"), "later", None),
        (ConnectionResetError(), "later", None),
        (TimeoutError("slow"), "later", None),
        (RejectedRecords([METRIC]), "rejected", None),
        (OSError("disk full"), "later", None),
        (IsADirectoryError(errno.EISDIR, "a folder"), "broken", None),
        (CredentialRefused("401"), "later", None),
        (RunDeleted("gone"), "deleted", None),
        (TooLarge("413"), "large", None),
        (ValueError("odd"), "broken", None),
    ],
)
def test_error_says_what_is_to_be_done(error, kind, after):
    outcome = hooks_of(Raising(hook="tracker_log", error=error)).log(RUN, BATCH)

    assert (outcome.kind, outcome.after) == (kind, after)
    assert outcome.reason.startswith(f"tracker_log: {type(error).__name__}: ")
    assert outcome.records == ((METRIC,) if kind == "rejected" else ())


def test_reason_is_one_short_line():
    error = ValueError("first\n  second" + "x" * 10_000)
    reason = hooks_of(Raising(hook="tracker_log", error=error)).log(RUN, BATCH).reason

    assert reason.startswith("tracker_log: ValueError: first second")
    assert len(reason) < 600


@pytest.mark.parametrize(("value", "cursor"), [(None, None), (5, 5), (True, None), ("5", None)])
def test_cursor_is_a_whole_number(monkeypatch, value, cursor):
    monkeypatch.setattr(Raising, "call", lambda *_: value)

    assert hooks_of(Raising()).start_run(RUN).value == cursor


@pytest.mark.parametrize("value", [None, "", 5, b"https://a", ["https://a"]])
def test_url_is_a_text(monkeypatch, value):
    monkeypatch.setattr(Raising, "call", lambda *_: value)

    assert hooks_of(Raising()).url(RUN) is None


@pytest.mark.parametrize("value", [5, "abc", None])
def test_check_that_gives_no_list_is_no_crash(monkeypatch, value):
    monkeypatch.setattr(Raising, "call", lambda *_: value)

    assert all(isinstance(problem, str) for problem in hooks_of(Raising()).check())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/run", "https://host/run"),
        ("https://ann:pass@host:80/run?a=b#c", "https://host:80/run?a=b#c"),
        ("https://token@host/run", "https://host/run"),
        ("https://a:p@ss@host/run", "https://host/run"),
        ("https://host/a@b", "https://host/a@b"),
        ("file:///a@b", "file:///a@b"),
        ("https://ann:pass@[host/run", "[host/run"),
        ("", ""),
    ],
)
def test_url_is_shown_without_credentials(url, shown):
    assert without_credentials(url) == shown


def test_url_of_the_tracker_is_shown_without_credentials(monkeypatch):
    monkeypatch.setattr(Raising, "call", lambda *_: "https://ann:pass@host/run")

    assert hooks_of(Raising()).url(RUN) == "https://host/run"


# The step's exception and the activation


@flavor
class Swallowing:
    """Its activation swallows every exception that it sees."""

    seen: list = attrs.field(factory=list)

    @hookimpl
    def tracker_activate_run(self, run):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.seen.append(error)
        return True


STEP_ERRORS = [ValueError(), SystemExit(), KeyboardInterrupt(), StopIteration(), GeneratorExit()]


@pytest.mark.parametrize("error", STEP_ERRORS, ids=repr)
def test_activation_that_swallows_does_not_swallow_the_steps_exception(error):
    tracker = Swallowing()

    with pytest.raises(type(error)) as caught, hooks_of(tracker).activated(RUN):
        raise error
    assert caught.value is error
    assert tracker.seen == [(None, None, None)]


@pytest.mark.parametrize("value", [5, "text", object()])
def test_activation_that_is_no_context_manager_is_no_crash(monkeypatch, value):
    monkeypatch.setattr(Raising, "call", lambda *_: value)

    with hooks_of(Raising()).activated(RUN) as native:
        assert native is None


def test_interrupt_that_a_plugin_raises_on_its_worker_is_an_error_like_others():
    hooks = hooks_of(Raising(hook="tracker_log", error=KeyboardInterrupt()))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(hooks.log, RUN, BATCH).result().kind == "broken"


def test_interrupt_of_the_user_comes_through_plugins_and_filters():
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        passed(interrupt)
    with pytest.raises(KeyboardInterrupt):
        hooks_of(Counting(), Plain(KeyboardInterrupt())).log(RUN, BATCH)
    with pytest.raises(KeyboardInterrupt), hooks_of(Interrupting()).activated(RUN):
        pytest.fail("entered")


class Interrupting:
    """Ctrl-C comes while its activation is entered."""

    @hookimpl
    def tracker_activate_run(self, run):
        return self

    def __enter__(self):
        raise KeyboardInterrupt

    def __exit__(self, *_):
        pass


# A whole run


@flavor
class RaisingRecorder(Recorder):
    """A recorder that raises in one hook."""

    hook: str = ""
    kind: str = "ValueError"

    @hookimpl
    def tracker_url(self, run):
        self.fail("tracker_url")

    @hookimpl
    def tracker_activate_run(self, run):
        self.fail("tracker_activate_run")
        return self.active(run)

    def note(self, hook, run, **more):
        self.fail(hook)
        super().note(hook, run, **more)

    @contextmanager
    def active(self, run):
        self.fail("enter")
        yield
        self.fail("leave")

    def fail(self, hook):
        if hook == self.hook:
            raise {"ValueError": ValueError, "SystemExit": SystemExit, "Crash": Crash}[self.kind]


PLACES = ["start", "tracker_url", "tracker_activate_run", "enter", "leave", "log", "end", "fail"]


@pytest.mark.parametrize("kind", ["ValueError", "SystemExit", "Crash"])
@pytest.mark.parametrize("place", PLACES)
def test_tracker_that_raises_anywhere_leaves_step_and_neighbour_alone(project, place, kind):
    project.add_tracker("local", Recorder)
    options = {"start_timeout": 0.2, "flush_timeout": 0.2}
    project.add_tracker("bad", RaisingRecorder, hook=place, kind=kind, **options)
    error = OSError("of the step")
    caught = None
    try:
        with start_run() as run:
            run.log_metric("a", 1)
            raise error
    except OSError as raised:
        caught = raised

    assert caught is error
    assert project.hooks("local") == ["start", "log", "fail"]
    assert project.logged("metrics", "local") == [["a", 1.0, None]]


def test_frozen_batch_cannot_be_spoilt_for_the_neighbour():
    for value, name in ((BATCH, "metrics"), (METRIC, "key"), (RUN, "name"), (Tag("a", "b"), "key")):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, name, "spoilt")
    with pytest.raises(TypeError):
        RUN.tags["a"] = "spoilt"
