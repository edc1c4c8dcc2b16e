"""Is what one sees of a run fit for any terminal?"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from matrices import first_by_default

from trackyard.pipelines.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Closed(io.StringIO):
    tries = 0

    def write(self, text):
        self.tries += 1
        raise self.error


def lines(stream):
    progress = Progress(stream)
    progress.run_started("run", Path("/project"))
    progress.step_started("train", 1, {"local": "https://a"})
    progress.step_ended(
        "train", "finished", 1.25, {"a": 1.0, "loss": 0.123456, "system/cpu": 3.0}, ""
    )
    progress.run_ended("run", "finished", 2.0)
    return stream


def test_lines_are_plain_where_they_are_no_terminal():
    assert lines(io.StringIO()).getvalue().splitlines() == [
        "pipeline run run in /project",
        "  ▸ train running  https://a",
        "  ✓ train finished  1.2 s  loss=0.1235",
        "  ✓ run finished  2.0 s",
    ]


def test_marks_have_colours_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m✓\x1b[0m" in lines(Terminal()).getvalue()

    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in lines(Terminal()).getvalue()


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "a\rb", "\ud800", "\x07"], ids=ascii)
def test_names_cannot_move_the_cursor(text):
    stream = io.StringIO()
    progress = Progress(stream)
    progress.step_started(text, 1, {"local": text})
    progress.step_ended(text, "failed", None, {text: 1.0}, text)
    progress.run_started(text, Path())
    progress.run_ended(text, "failed", 0)

    assert len(stream.getvalue().splitlines()) == 4
    assert all(character.isprintable() or character == "\n" for character in stream.getvalue())


@pytest.mark.parametrize(
    "error", [OSError("gone"), ValueError("closed"), UnicodeEncodeError("ascii", "✓", 0, 1, "")]
)
def test_terminal_that_is_gone_fails_nothing(error):
    stream = Closed()
    stream.error = error

    assert lines(stream).tries == 1  # and it is left in peace then


@pytest.mark.parametrize(
    "without", first_by_default(["os.close(2)", "sys.stderr = None", "sys.stderr.close()"])
)
def test_process_without_stderr_may_run_pipelines(project, without):
    code = f"""
import os, sys
from trackyard import pipeline, step
{without}
@step
def one() -> int:
    return 1
@pipeline
def line():
    one()
print(line().status)
"""
    result = project.python(code, TRACKYARD_PROGRESS="1")

    assert (result.returncode, result.stdout) == (0, "finished\n")


def test_unknown_status_has_a_mark():
    stream = io.StringIO()
    Progress(stream).step_ended("train", "cached", None, {}, "")

    assert stream.getvalue() == "  · train cached\n"
