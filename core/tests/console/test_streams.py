"""Does what goes through the streams of a process reach the run of the thread that prints?"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading

import pytest
from recorder import Recorder

import trackyard
from trackyard import Client
from trackyard.contract import Capabilities, hookimpl


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def printed(run):
    return [line.text for line in Client().get_run(run.id).console]


def test_print_logging_and_stderr_are_kept_and_shown(local, capsys):
    handler = logging.StreamHandler()
    logger = logging.getLogger("of a user")
    logger.addHandler(handler)
    try:
        with trackyard.start_run() as run:
            print("printed")
            print("an error", file=sys.stderr)
            logger.warning("logged")
    finally:
        logger.removeHandler(handler)

    shown = capsys.readouterr()
    address = f"run {run.name}  https://tracker.test/default/{run.id}\n"
    assert (shown.out, shown.err) == ("printed\n", f"{address}an error\nlogged\n")
    assert printed(run) == ["printed", "an error", "logged"]


def test_streams_are_as_they_were_afterwards(local, capsys):
    before = sys.stdout, dict(vars(sys.stdout)), dict(vars(sys.stderr))
    with trackyard.start_run():
        assert sys.stdout is before[0]
        print("x")

    assert (sys.stdout, vars(sys.stdout), vars(sys.stderr)) == before


class Chatty(Recorder):
    @hookimpl
    @contextlib.contextmanager
    def tracker_activate_run(self):
        print("before")
        yield
        print("after")


def test_steps_of_a_pipeline_share_covers_and_none_gets_what_is_printed_between_them(project):
    project.add_tracker("local", Chatty)
    writes = []

    @trackyard.step(experiment_tracker="local", on_success=lambda _: print("between"))
    def saying(number: int) -> int:
        writes.append(sys.stdout.write)
        print(number)
        return number + 1

    @trackyard.pipeline
    def twice() -> None:
        saying(saying(1))

    before = dict(vars(sys.stdout))
    run = twice()

    lines = [[line.text for line in Client().get_run(s.id).console] for s in run.steps.values()]
    assert lines == [["1"], ["2"]]
    assert writes[0] is writes[1]
    assert vars(sys.stdout) == before


def test_bytes_that_are_written_to_the_buffer_are_kept_and_text_only_once(
    local, tmp_path, monkeypatch
):
    with (tmp_path / "printed").open("w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", file)
        print("before the run")
        with trackyard.start_run() as run:
            print("text")
            print("flushed", flush=True)
            sys.stdout.flush()
            sys.stdout.buffer.write(b"bytes \xc3")
            sys.stdout.buffer.write(memoryview(b"\xbc\n"))
            sys.stdout.buffer.writelines([b"two\n", b"lines\n"])
            print("text again")
        print("after it")
        assert vars(file.buffer) == {}
    wanted = ["text", "flushed", "bytes ü", "two", "lines", "text again"]

    assert printed(run) == wanted
    assert (tmp_path / "printed").read_text().split("\n") == [
        *("before the run", *wanted, "after it", "")
    ]


def test_trackers_get_it_as_a_file_at_the_end(local):
    with trackyard.start_run() as run:
        print("to the tracker")

    ((name, kind, media_type, _, text),) = local.logged("artifacts")
    assert (name, kind, media_type) == ("console.log", "text", "text/plain")
    assert text.endswith(" out to the tracker\n")
    assert Client().get_run(run.id).artifacts["console.log"].read_text() == text


def test_run_that_prints_nothing_has_no_such_file(local):
    with trackyard.start_run() as run:
        run.log_metric("loss", 1.0)

    assert local.logged("artifacts") == []
    assert not (run.folder / "console").exists()


def test_tracker_may_want_none_of_it(project):
    project.add_tracker("local", Recorder, console=False)
    with trackyard.start_run() as run:
        print("kept here alone")

    assert project.logged("artifacts") == []
    assert printed(run) == ["kept here alone"]


class PublicRecorder(Recorder):
    capabilities = Capabilities(is_public=True)


@pytest.mark.parametrize(("fields", "count"), [({}, 0), ({"console": True}, 1)])
def test_public_tracker_gets_it_only_where_that_is_said(project, fields, count):
    project.add_tracker("local", PublicRecorder, **fields)
    with trackyard.start_run():
        print("x")

    assert len(project.logged("artifacts")) == count


def test_configuration_switches_it_off(local):
    local.configure("console = false\n" + local.file.read_text())
    with trackyard.start_run() as run:
        print("x")

    assert printed(run) == []
    assert local.logged("artifacts") == []


def test_nested_runs_and_threads_keep_their_own_lines(local):
    def work():
        with trackyard.start_run() as run:
            ids.append(run)
            begun.set()
            ready.wait()
            print("in a thread")

    ids, begun, ready = [], threading.Event(), threading.Barrier(2)
    thread = threading.Thread(target=work)
    with trackyard.start_run() as outer:
        print("outer")
        plain = threading.Thread(target=print, args=("in a thread of the run",))
        plain.start()
        plain.join()
        thread.start()
        begun.wait(60)
        with trackyard.start_run() as inner:
            print("inner")
        ready.wait()
        thread.join()
        print("outer again")

    inside = [f"run {run.name}  https://tracker.test/default/{run.id}" for run in (inner, *ids)]
    lines = Client().get_run(outer.id).console
    texts = [line.text for line in lines if line.stream == "out"]
    assert texts == ["outer", "in a thread of the run", "outer again"]
    assert sorted(line.text for line in lines if line.stream == "err") == sorted(inside)
    assert (printed(inner), printed(ids[0])) == (["inner"], ["in a thread"])


def test_what_is_redirected_elsewhere_is_not_printed(local):
    class Tee:
        def __init__(self, stream):
            self.stream = stream

        def write(self, text):
            return self.stream.write(text)

        def flush(self):
            self.stream.flush()

    before = sys.stdout
    with trackyard.start_run() as run:
        with contextlib.redirect_stdout(io.StringIO()) as hidden:
            print("hidden")
        sys.stdout = Tee(before)
        try:
            print("through a tee")
        finally:
            sys.stdout = before
        print("seen")

    assert hidden.getvalue() == "hidden\n"
    assert printed(run) == ["through a tee", "seen"]


def test_wrapper_that_somebody_left_over_ours_goes_on_and_keeps_each_line_once(local):
    with trackyard.start_run() as first:
        ours = sys.stdout.write
        sys.stdout.write = lambda text: ours(text)  # noqa: PLW0108 - another function than ours
        print("first")
    try:
        print("between")
        with trackyard.start_run() as second:
            print("second")
    finally:
        with contextlib.suppress(AttributeError):
            del sys.stdout.write

    assert (printed(first), printed(second)) == (["first"], ["second"])


def test_error_of_a_stream_is_the_users(local):
    class Broken(io.StringIO):
        def write(self, text):
            raise OSError("broken")

    with trackyard.start_run() as run, contextlib.redirect_stdout(Broken()):  # noqa: SIM117
        with pytest.raises(OSError, match="broken"):
            print("x")

    assert printed(run) == []


def test_failure_of_ours_changes_nothing(local, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("ours")

    with trackyard.start_run() as run:
        monkeypatch.setattr(run._tracked.console, "write", fail)
        print("shown")

    assert capsys.readouterr().out == "shown\n"


def test_forked_child_prints_into_the_run(local):
    with trackyard.start_run() as run:
        child = os.fork()
        if child == 0:
            print("from a child", flush=True)
            os._exit(0)
        os.waitpid(child, 0)

    assert printed(run) == ["from a child"]


def test_killed_process_has_its_lines_and_recovery_sends_them(local):
    code = """
import os, signal, trackyard
with trackyard.start_run("killed"):
    print("the last word", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert local.python(code).returncode == -9
    assert local.trackyard("sync").returncode == 0

    ((name, *_, text),) = local.logged("artifacts")
    view = Client().get_run("killed")
    assert (name, view.status) == ("console.log", "crashed")
    assert text.endswith("out the last word\n")
    assert view.console.text == "the last word\n"


def test_run_without_trackers_is_found_while_it_prints(project):
    code = """
import os, signal, trackyard
with trackyard.start_run("alone", experiment_tracker=None):
    print("alone", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    project.python(code)

    view = Client().get_run("alone")
    assert (view.status, view.console.text) == ("crashed", "alone\n")
