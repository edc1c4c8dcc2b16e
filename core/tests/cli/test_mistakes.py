"""Is each command's mistake a line that says what to type, and never a traceback?"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from recorder import Recorder

from trackyard.cli.main import cli

ROOT = Path(__file__).parents[3]


def commands(group=cli, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


COMMANDS = {" ".join(path): command for path, command in commands()}
LEAVES = {name: c for name, c in COMMANDS.items() if not isinstance(c, click.Group)}
# `trackyard exec` hands on what it does not know; `log` takes numbers such as -1.
STRICT = [n for n in COMMANDS if n != "exec" and not n.startswith("log ")]
# What each command is given in the place of an argument; one is a byte of argv that is no text.
ODD = [
    "nothing\x1b[2J",
    "--",
    "-",
    "",
    "a\nb",
    "\udcff",
    "x" * 3000,
]


def run(*arguments):
    return CliRunner().invoke(cli, arguments, prog_name="trackyard", input="")


def is_a_mistake_of_the_users(result):
    """A click exit; anything else that came through would be a traceback on the terminal."""
    shown = repr(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), shown
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output
    return True


def arguments_of(command, value):
    """Give each argument that a command needs the same odd value."""
    needed = [p for p in command.params if isinstance(p, click.Argument) and p.required]
    options = [p for p in command.params if isinstance(p, click.Option) and p.required]
    words = [word for option in options for word in (option.opts[-1], value)]
    return [*words, "--", *[value for _ in needed]]


@pytest.mark.parametrize("name", STRICT)
def test_unknown_option_is_wrong_usage_and_says_where_help_is(name):
    result = run(*name.split(), "--zebra-crossing")

    assert is_a_mistake_of_the_users(result)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(r"^Try 'trackyard .* --help' for help\.$", result.stderr, re.MULTILINE)


@pytest.mark.parametrize("name", LEAVES)
def test_help_has_a_usage_a_text_and_short_lines(name):
    result = CliRunner().invoke(cli, [*name.split(), "--help"], prog_name="trackyard")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: trackyard {name}")
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("value", ODD, ids=ascii)
@pytest.mark.parametrize("name", [n for n in LEAVES if n not in ("exec", "ui", "doctor", "init")])
def test_odd_values_end_without_a_traceback(project, monkeypatch, name, value):
    project.add_tracker("local", Recorder)
    monkeypatch.setenv("HOME", str(project.root))
    monkeypatch.setenv("SHELL", "/bin/bash")
    result = run(*name.split(), *arguments_of(LEAVES[name], value))

    assert is_a_mistake_of_the_users(result)


@pytest.mark.parametrize(
    "text",
    ["[", "x = 1", "stacks = 1", "[experiment_trackers]\na = 1", "[stacks.a]\nb = 1\n", "\ud800"],
    ids=ascii,
)
@pytest.mark.parametrize("name", [n for n in LEAVES if n not in ("exec", "run")])
def test_broken_configuration_is_named(project, monkeypatch, name, text):
    project.file.write_bytes(text.encode("utf-8", "surrogatepass"))
    monkeypatch.setenv("HOME", str(project.root))
    monkeypatch.setenv("SHELL", "/bin/bash")
    result = run(*name.split(), *arguments_of(LEAVES[name], "name"))

    assert is_a_mistake_of_the_users(result)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["experiment-tracker list", "stack list", "config show"])
def test_file_that_cannot_be_read_is_named(project, name):
    project.configure("")
    project.file.chmod(0)

    assert is_a_mistake_of_the_users(run(*name.split()))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["experiment-tracker", "list"]], ids=" ".join)
def test_full_disk_below_stdout_is_a_line(project, arguments):
    project.add_tracker("local", Recorder)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "trackyard", *arguments],
            cwd=project.root,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


def test_page_of_the_commands_is_as_the_code_says():
    """`uv run docs/write_cli.py` writes it anew."""
    page = runpy.run_path(str(ROOT / "docs/write_cli.py"))

    assert page["PAGE"].read_text(encoding="utf-8") == page["page"]()
