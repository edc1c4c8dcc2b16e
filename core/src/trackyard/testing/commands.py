"""What does the author of a command subclass, and what is checked?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import click
import pytest

from trackyard.hooks.discovery import COMMANDS, find_plugins, load_command
from trackyard.testing.base import Suite
from trackyard.testing.contract import BrokenContract, check, expect

# Milliseconds of CPU that the import of a command may cost over that of `trackyard --help`.
IMPORT_BUDGET = 300.0

# Seconds that a program may take at most, beside whatever else the machine does.
_PATIENCE = 180.0

_PROBE = """
import sys, time
import trackyard.cli.main, trackyard.client, trackyard.contract, trackyard.hooks.discovery as found
found.find_plugins(found.COMMANDS)
started = time.process_time()
found.load_command(sys.argv[1])
print((time.process_time() - started) * 1000)
"""
_LISTED = """
import sys
from trackyard.cli.main import cli
cli(["--help"], standalone_mode=False)
print(sys.argv[1] in sys.modules)
"""


class CommandSuite(Suite):
    """Checks that a command keeps the contract. Subclass it, and pytest runs them all.

    Each check types the command in a project of its own, as a program of its own. Most of them are
    without runs; one has runs that have finished, failed and crashed.

    Attributes:
        command: The name of its entry point.
        arguments: What to type behind it, whatever runs the project has.
        mistake: What a user may type wrongly, such as the name of a run that is not there.
        expected_failures: Reasons by name of checks that the command cannot pass; one that passes
            all the same is a failure.
    """

    command: ClassVar[str] = ""
    arguments: ClassVar[Sequence[str]] = ()
    mistake: ClassVar[Sequence[str]] = ("--no-such-option",)

    @pytest.fixture(autouse=True)
    def _configured(self, _project: Path) -> None:
        expect(bool(self.command), f"{type(self).__name__} does not say which `command` it is of")
        (_project / "trackyard.toml").write_text("[stacks.default]\n", encoding="utf-8")

    @check("Found by entry point: group trackyard.commands, name = what one types.")
    def test_it_is_found_by_its_entry_point(self) -> None:
        """A name that core has, or that two distributions have, is refused."""
        found = [info for info in find_plugins(COMMANDS) if info.name == self.command]
        expect(len(found) == 1, f"{len(found)} entry points are named {self.command!r}")
        listed = _run("-m", "trackyard", "--help")
        expect(f"command {self.command!r}" not in listed.stderr, listed.stderr.strip())

    @check("`trackyard --help` imports no plugin's command.")
    def test_the_help_does_not_import_it(self) -> None:
        """Listing stays quick whatever is installed."""
        (info,) = (info for info in find_plugins(COMMANDS) if info.name == self.command)
        done = _run("-c", _LISTED, info.value.partition(":")[0])
        expect(done.stdout.endswith("False\n"), f"it was imported: {done.stderr[-500:]}")

    @check("Light: an import of a command costs tens of milliseconds.")
    def test_import_is_quick(self) -> None:
        """What is heavy is imported inside the function."""
        done = _run("-c", _PROBE, self.command)
        expect(done.returncode == 0, f"the import fails: {done.stderr.strip()[-500:]}")
        expect(not done.stderr, f"the import prints {done.stderr!r}")
        *printed, spent = done.stdout.splitlines()
        expect(not printed, f"the import prints {printed!r}")
        expect(float(spent) < IMPORT_BUDGET, f"the import takes {float(spent):.0f} ms of CPU")

    @check("The docstring is the help, and each option has a line of its own.")
    def test_help_says_what_it_does(self) -> None:
        """Groups, too."""
        done = self._typed("--help")
        expect(done.returncode == 0, f"--help exits with {done.returncode}: {done.stderr}")
        for command in _commands_of(load_command(self.command)):
            expect(bool(command.help), f"{command.name} has no docstring")
            options = [o for o in command.params if isinstance(o, click.Option) and not o.hidden]
            silent = [option.opts[0] for option in options if not option.help]
            expect(not silent, f"no help for {', '.join(silent)}")

    @check("`--json` writes JSON to stdout, and nothing else.")
    def test_json_is_json(self) -> None:
        """Remarks go to stderr."""
        done = self._typed(*self.arguments, "--json")
        expect(done.returncode == 0, f"--json exits with {done.returncode}: {done.stderr}")
        _expect_json(done.stdout)

    @check("Whatever runs there are, it shows them; no control character reaches a terminal.")
    def test_runs_of_every_kind_are_shown(self) -> None:
        """Of blocks and pipelines: finished, failed, crashed, with NaN, with names of any kind."""
        filled = _run("-m", "trackyard.testing.filling")
        expect(filled.returncode == 0, f"no runs could be made: {filled.stderr[-500:]}")
        for arguments in (self.arguments, (*self.arguments, "--json")):
            done, typed = self._typed(*arguments), " ".join((self.command, *arguments))
            wrong = f"`trackyard {typed}` ends with a traceback: {done.stderr[-500:]}"
            expect("Traceback" not in done.stderr, wrong)
            wrong = f"`trackyard {typed}` exits with {done.returncode}: {done.stderr[-500:]}"
            expect(done.returncode == 0, wrong)
            odd = sorted({one for one in done.stdout + done.stderr if one < " "} - {*"\t\n"})
            expect(not odd, f"`trackyard {typed}` writes {', '.join(map(repr, odd))}")
        _expect_json(done.stdout)

    @check("It works in every folder of a project, as in the project's own.")
    def test_it_works_in_a_folder_below(self) -> None:
        """The project is what `find_project()` finds, not the working directory."""
        filled = _run("-m", "trackyard.testing.filling")
        expect(filled.returncode == 0, f"no runs could be made: {filled.stderr[-500:]}")
        here = self._typed(*self.arguments, "--json")
        below = Path("below")
        below.mkdir()
        there = self._typed(*self.arguments, "--json", folder=below)
        wrong = f"it exits with {there.returncode} there: {there.stderr[-500:]}"
        expect(there.returncode == here.returncode, wrong)
        if here.returncode == 0:
            seen = [_size_of_json(done.stdout) for done in (here, there)]
            expect(seen[0] == seen[1], f"it shows {seen[1]} there, and {seen[0]} in the project's")

    @check("A mistake of the user's is a line on stderr and an exit code, never a traceback.")
    @pytest.mark.parametrize("kind", ["mistake", "configuration", "no project"])
    def test_a_mistake_is_a_line(self, kind: str) -> None:
        """What was typed, where, and what stands in the project's file."""
        if kind == "configuration":
            Path("trackyard.toml").write_text("[stacks\n", encoding="utf-8")
        if kind == "no project":
            Path("trackyard.toml").unlink()
        done = self._typed(*(self.mistake if kind == "mistake" else self.arguments))
        expect("Traceback" not in done.stderr, f"it ends with a traceback: {done.stderr[-500:]}")
        if kind == "mistake":
            expect(done.returncode in (1, 2), f"it exits with {done.returncode}")
            expect("Error: " in done.stderr, f"stderr says {done.stderr!r}")
            expect(not done.stdout, f"stdout says {done.stdout!r}")

    def _typed(
        self, *arguments: str, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return _run("-m", "trackyard", self.command, *arguments, folder=folder)


def _run(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python as a program of its own that finds what this one finds, here or in a folder."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_PROCESS_")}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,  # nobody is there who could answer
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        typed = " ".join(["trackyard", *arguments[2:]])
        raise BrokenContract(f"`{typed}` had not ended after {_PATIENCE:g} s") from None


def _expect_json(text: str) -> None:
    """Require one document of JSON, which has neither NaN nor infinities."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is none of its values")

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        expect(False, f"stdout is no JSON ({error}): {text[:200]!r}")


def _size_of_json(text: str) -> str:
    """Say how much a document of JSON holds; its values may be of the moment."""
    try:
        found = json.loads(text)
    except ValueError:  # which has a check of its own
        return "no JSON"
    return f"{len(found)} item(s)" if isinstance(found, list | dict) else "a value"


def _commands_of(command: click.Command) -> list[click.Command]:
    """Give a command and, of a group, those below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [command, *(one for child in below for one in _commands_of(child))]
