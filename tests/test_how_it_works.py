"""Is what docs/how-it-works.md and its pictures say true of the code?"""

from __future__ import annotations

import ast
import importlib
import os
import re
import runpy
import signal
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest

import trackyard
from trackyard.cli.main import cli
from trackyard.journal.frames import frame_at, salt_of
from trackyard.store.schema import TABLES

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "core/src/trackyard", *sorted(ROOT.glob("plugins/*/src/trackyard_*"))]
PAGE = (ROOT / "docs/how-it-works.md").read_text(encoding="utf-8")
DRAWING = runpy.run_path(str(ROOT / "docs/draw_pictures.py"))

ROWS = re.findall(r"^\| `([^`]+)` \| (?!question)[^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
PLACEHOLDERS = {
    "RUN": r"[0-9a-f]{32}",
    "TRACKER": "(?:local|kept)",
    "PID": r"\d+",
    "TIME": r"\d+",
    "XXXX": "[0-9a-f]{4}",
    "SHA256": "[0-9a-f]{64}",
    "HASH": "[0-9a-f]{16}",
    "NAME": "[^/]+",
    "KEY": "[^/]+",
    "000001": r"\d{6}",
    "…": ".+",
}
# What is a word of its own there, and no name of the code.
WORDS = {*PLACEHOLDERS, "r0", "child-r1", "self", ".trackyard/", "RUN/", "TRACKER/", "runs/"}

PROJECT = """
[experiment_trackers.local]
flavor = "own:Own"

[experiment_trackers.kept]
flavor = "own:Kept"

[stacks.default]
experiment_trackers = ["local", "kept"]

[stacks.beside]
experiment_trackers = ["local"]
orchestrator = "process"
"""
FLAVORS = """
from trackyard import Capabilities, RejectedRecords, flavor, hookimpl
from trackyard.contract import TooLarge

@flavor
class Own:
    "Keep a file, refuse a metric, and let another one wait."

    capabilities = Capabilities(param_length=20, shared_runs=True)

    @hookimpl
    def tracker_start_run(self, run):
        (run.folder / "own.txt").touch()

    @hookimpl
    def tracker_log(self, run, batch):
        refused = tuple(metric for metric in batch.metrics if metric.key == "refused")
        if refused:
            raise RejectedRecords(refused)
        if any(metric.key == "large" for metric in batch.metrics):
            raise TooLarge("it is large")

@flavor
class Kept:
    "Keep each run on this machine."

    is_offline = True

    @hookimpl
    def tracker_log(self, run, batch):
        pass
"""
PROGRAM = """
import os, pathlib, signal, subprocess, sys, time
from trackyard import log_metric, log_params, log_text, pipeline, start_run, step

HOME = pathlib.Path(".trackyard")

def look():
    for path in HOME.rglob("*"):
        if path.is_file():
            print(path.relative_to(HOME).as_posix())

@step(experiment_tracker=True)
def train() -> int:
    log_params({"long": "x" * 100})
    log_metric("loss", 1.0)
    log_metric("refused", 1.0)
    log_metric("large", 1.0)
    log_text("words", "note.txt")
    child = "import trackyard; trackyard.log_metric('of_child', 1.0)"
    subprocess.run([sys.executable, "-c", child], check=True)
    with start_run("trial", nested=True):
        log_metric("loss", 0.5)
    look()
    if "killed" in sys.argv:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            look()
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    return 1

@pipeline
def training():
    train()

if __name__ == "__main__":
    training()
    look()
"""


RESUMED = """
import trackyard
with trackyard.resume_run("trial") as run:
    run.log_metric("loss", 0.25)
"""


def left_behind(folder):
    """Give what runs leave below `.trackyard`: whole, elsewhere, killed and recovered."""
    for name, text in (("trackyard.toml", PROJECT), ("own.py", FLAVORS), ("program.py", PROGRAM)):
        (folder / name).write_text(text, encoding="utf-8")
    trackyard_command = [sys.executable, "-m", "trackyard"]
    seen: set[str] = set()
    for arguments, stack, code in (
        ([sys.executable, "program.py"], "default", 0),
        ([sys.executable, "program.py"], "beside", 0),
        ([sys.executable, "program.py", "killed"], "default", -signal.SIGKILL),
        ([sys.executable, "-c", RESUMED], "default", 0),
        ([*trackyard_command, "runs", "list"], "default", 0),
        ([*trackyard_command, "sync"], "default", 1),  # something was refused
    ):
        variables = {"TRACKYARD_WATCHDOG": "0", "PYTHONPATH": str(folder)}
        done = subprocess.run(
            arguments,
            check=False,
            cwd=folder,
            env={**os.environ, **variables, "TRACKYARD_ACTIVE_STACK": stack},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr
        seen.update(line for line in done.stdout.splitlines() if "/" in line and " " not in line)
        home = folder / ".trackyard"
        seen.update(p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file())
    return seen


def pattern(row: str) -> str:
    """Make a regular expression of a path as the page writes it."""
    row = row.replace("TRACKER/…", "TRACKER/own.txt")  # the page's row is for the flavor alone
    parts = re.split("|".join(f"({name})" for name in PLACEHOLDERS), row)
    known = (part for part in parts if part)
    return "".join(PLACEHOLDERS.get(part, re.escape(part)) for part in known)


def test_the_page_has_each_file_that_runs_leave_and_no_other(tmp_path):
    left = left_behind(tmp_path)
    patterns = {row: pattern(row) for row in ROWS}
    # A database of SQLite has files beside it, while it is open.
    files = {re.sub(r"\.db-(wal|shm)$", ".db", path) for path in left}
    # What was being written as its process was killed: see `replacing`.
    files = {path for path in files if not re.search(r"\.\d+-[0-9a-f]{4}$", path)}

    assert [
        p for p in sorted(files) if not any(re.fullmatch(r, p) for r in patterns.values())
    ] == []
    assert [
        r for r, known in patterns.items() if not any(re.fullmatch(known, p) for p in files)
    ] == []


def test_the_picture_of_a_folder_shows_files_of_the_page():
    path: list[str] = []
    for depth, name, _, _ in DRAWING["TREE"]:
        path[depth:] = [name]
        shown = "".join(path)

        assert shown.endswith("/") or shown.removeprefix(".trackyard/") in ROWS


def test_pictures_are_as_they_are_drawn():
    """`uv run docs/draw_pictures.py` draws them anew."""
    for path, drawn in DRAWING["written"]().items():
        assert path.read_text(encoding="utf-8") == drawn
        assert f"images/{path.name}" in PAGE


def test_a_metric_is_six_calls_in_four_files_up_to_the_journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    monkeypatch.setenv("TRACKYARD_CONTEXT", "0")
    calls = []

    def note(frame, event, _):
        if event == "call":
            file = Path(frame.f_code.co_filename)
            calls.append((frame.f_code.co_qualname, f"{file.parent.name}/{file.name}"))

    with trackyard.start_run("counted", experiment_tracker=None):
        trackyard.log_metric("loss", 1.0, step=0)
        sys.setprofile(note)
        trackyard.log_metric("loss", 0.5, step=1)
        sys.setprofile(None)
    picture = dict(DRAWING["written"]())[ROOT / "docs/images/way-of-a-record.svg"]
    drawn = re.findall(r'class="code">([\w.]+)</tspan>.*\n.*class="code">(\w+/\w+\.py)<', picture)

    assert calls == drawn
    assert (len(drawn), len({file for _, file in drawn})) == (6, 4)


def spans():
    """Everything that stands as code on the page and in its pictures."""
    found = set(re.findall(r"`([^`]+)`", PAGE))
    for drawn in DRAWING["written"]().values():
        found |= set(re.findall(r'<tspan class="code">([^<]+)</tspan>', drawn))
    return sorted(span.replace("&quot;", '"') for span in found)


@pytest.fixture(scope="module")
def names():
    """Functions, classes, methods and fields of core and of the plugins, columns of the store."""
    found = {"schema_version", *re.findall(r"[a-z_]+", TABLES)}
    for file in (file for source in SOURCES for file in source.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
            if isinstance(node, ast.ClassDef):
                inner = (f for f in node.body if isinstance(f, ast.FunctionDef))
                found |= {f"{node.name}.{function.name}" for function in inner}
    return found


def is_command(span: str) -> bool:
    group: click.Command | None = cli
    for word in span.split()[1:]:
        group = group.get_command(click.Context(group), word) if group else None
    return group is not None


def is_file(span: str) -> bool:
    """Tell whether it is the end of a row's path, a folder of one, or a file as one describes."""
    is_end = any(fnmatch(row, f"*{span}") or row.startswith(span) for row in ROWS)
    return is_end or any(re.fullmatch(pattern(row), span) for row in ROWS)


def is_imported(span: str) -> bool:
    module, _, attribute = span.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute) if module else False
    except ImportError:
        return False


def is_module(span: str) -> bool:
    path = ROOT / "core/src" / span.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("span", spans())
def test_each_name_is_one_of_the_code(span, names):
    """A module, class, function, field, variable, command or file; nothing else stands as code."""
    name, _, value = span.partition("=")
    variable = name.strip()
    if span.startswith("~1 "):
        run, file = DRAWING["JOURNAL"].split("/")[1:]
        salt = salt_of(run, file.partition(".")[0], 1)
        assert frame_at(f"{span}\n".encode(), 0, salt)
    elif variable.startswith("TRACKYARD_"):
        texts = (f.read_text(encoding="utf-8") for s in SOURCES for f in s.rglob("*.py"))
        assert any(f'"{variable}"' in text for text in texts)
    elif span.startswith("trackyard "):
        assert is_command(span)
    elif span.endswith(".py"):
        assert list((ROOT / "core/src/trackyard").rglob(span))
    elif span in WORDS or span in ROWS or (value and variable in names) or span in names:
        pass
    elif "." in span or "/" in span:
        assert is_file(span) or is_module(span) or is_imported(span)
    else:  # the name of a file that is a word by itself, as in an orchestrator's
        assert any(list(source.rglob(f"{span}.py")) for source in SOURCES)
