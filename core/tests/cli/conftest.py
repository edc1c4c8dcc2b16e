"""What do the tests of the command line share: a project of a known path, and golden files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from golden import compare, record


@pytest.fixture
def golden_project(project: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make an empty project the working directory, whose path is as long each time."""
    root = Path(tempfile.mkdtemp(prefix="golden-", dir="/tmp")).resolve()
    monkeypatch.chdir(root)
    yield type(project)(root)
    shutil.rmtree(root)


@pytest.fixture
def golden(golden_project: Any) -> Callable[..., None]:
    """Give a function that compares what a command writes with its golden file; see `golden`.

    Its arguments are the command, more arguments, `name` of the file, `as_json=False` for a command
    without `--json`, `replace` for texts and `patterns` for regular expressions of what differs
    from run to run, and `reset`, a function that is called before each of the three ways, for a
    command that changes something.
    """

    def check(
        command: str,
        *arguments: str,
        name: str | None = None,
        as_json: bool = True,
        replace: dict[str, str] | None = None,
        patterns: dict[str, str] | None = None,
        reset: Callable[[], object] = lambda: None,
    ) -> None:
        text = record(
            command,
            *arguments,
            root=golden_project.root,
            as_json=as_json,
            replace=replace or {},
            patterns=patterns or {},
            reset=reset,
        )
        compare(name or command.replace(" ", "-"), text)

    return check
