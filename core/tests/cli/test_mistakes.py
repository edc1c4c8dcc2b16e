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

from trackyard import start_run
from trackyard.cli.main import cli

ROOT = Path(__file__).parents[3]


def commands(group=cli, path=()):
    context = click.Context(group)
    for name in group.commands_by_name:  # not those of plugins
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
    [
        "[",
        "x = 1",
        "stacks = 1",
        "experiment_trackers = [1]",
        "[experiment_trackers]\na = 1",
        "[stacks.a]\nb = 1\n",
        "\ud800",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("name", [n for n in LEAVES if n not in ("exec", "run")])
def test_broken_configuration_is_named(project, monkeypatch, name, text):
    project.file.write_bytes(text.encode("utf-8", "surrogatepass"))
    monkeypatch.setenv("HOME", str(project.root))
    monkeypatch.setenv("SHELL", "/bin/bash")
    result = run(*name.split(), *arguments_to(name))

    assert is_a_mistake_of_the_users(result)


def _folder(project):
    project.file.mkdir()
    return f"{project.file}: cannot be read: Is a directory"


def _lost_link(project):
    project.file.symlink_to("nowhere")
    return f"{project.file}: is a link that leads nowhere"


def _users_folder(project):
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "trackyard" / "trackyard.toml"
    file.mkdir(parents=True)
    return f"{file}: cannot be read: Is a directory"


def _no_home(project):
    os.environ["TRACKYARD_HOME"] = "~nobody-here/data"
    return "TRACKYARD_HOME: ~nobody-here/data: there is no such home folder; write the whole path"


# What stands in no project, or looks at nothing of it.
ALOOF = ["completion install", "completion show", "experiment-tracker flavor list"]
ALOOF += ["experiment-tracker flavor describe", "experiment-tracker flavor check"]
ALOOF += ["experiment-tracker flavor new", "plugins", "run", "exec", "doctor"]
ALOOF += [n for n in LEAVES if n.startswith("log ")]

# What some need beside their arguments.
MORE = {"experiment-tracker register": ["-f", "recorder:Recorder"], "runs compare": ["name"]}
MORE |= {"runs verify": ["name"]}


def arguments_to(name):
    return ["name", "key=value"] if name == "runs tag" else arguments_of(LEAVES[name], "name")


@pytest.mark.parametrize("spoil", [_folder, _lost_link, _users_folder, _no_home])
@pytest.mark.parametrize("name", [n for n in LEAVES if n not in ALOOF])
def test_configuration_that_is_no_file_is_not_taken_for_none(project, monkeypatch, name, spoil):
    monkeypatch.setenv("TRACKYARD_HOME", "")
    message = spoil(project)
    Path("name").write_text("")  # for `stack import`
    result = run(*name.split(), *MORE.get(name, []), *arguments_to(name))

    assert is_a_mistake_of_the_users(result)
    assert result.exit_code in (1, 2)
    assert f"Error: {message}\n" in result.stderr


@pytest.mark.parametrize("name", [n for n in LEAVES if n.startswith("runs ")])
def test_store_that_is_none_is_named(project, name):
    (project.root / ".trackyard").mkdir()
    (project.root / ".trackyard" / "store.db").write_bytes(b"garbage" * 100)
    result = run(*name.split(), *MORE.get(name, []), *arguments_to(name))

    assert is_a_mistake_of_the_users(result)
    assert result.exit_code == 1
    assert re.search(
        r"^Error: .*store.db: cannot be opened: .*not a database; .*: trackyard store rebuild$",
        result.stderr,
    )


def test_deleting_asks_for_yes_where_nobody_can_be_asked(project):
    project.add_tracker("local", Recorder)
    with start_run("one"), start_run("a b"):
        pass
    result = run("runs", "delete", "one", "a b")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "type: trackyard runs delete --yes one 'a b'\n" in result.stderr


ROUGH = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "COLUMNS": "20"}


@pytest.mark.parametrize(
    "arguments",
    ["runs list", "runs show one", "experiment-tracker describe local", "config show", "plugins"],
)
def test_narrow_ascii_terminal_without_a_home_gets_an_answer(project, arguments):
    project.add_tracker("local", Recorder, label="\u2192 \u6f22")
    with start_run("one") as tracked:
        tracked.log_param("na\u00efve", "\u00fc")
    environment = {k: v for k, v in project.environment(**ROUGH).items() if k != "HOME"}
    done = subprocess.run(
        [sys.executable, "-m", "trackyard", *arguments.split()],
        cwd=project.root,
        env=environment,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


def test_reader_that_has_gone_is_no_error(project):
    project.add_tracker("local", Recorder)
    line = f"{sys.executable} -m trackyard config show --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == (b"[", b"")


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
