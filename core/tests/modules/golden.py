"""What does a command write, on a terminal of 80 columns, into a pipe and as JSON?

A golden file holds it, in `core/tests/cli/golden/`, named after the command: `stack list` is
`stack-list.txt`. After a change that is meant, write the files anew and read the difference:

    REFRESH_GOLDEN=1 uv run pytest core/tests/cli
    git diff core/tests/cli/golden

A test takes the fixtures `golden_project` and `golden`, makes what the command is to show, and
names the command:

    def test_stack_list(golden_project, golden):
        golden("stack list")
        golden("stack list", "--label", "team=a", name="stack-list-labels")

What differs from run to run is replaced: the project's folder, ids, times, versions that it names
in `replace`. Every command needs a file; `test_golden.py` says which one has none.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from threading import Thread
from unittest import mock

import attrs

from trackyard.cli.main import cli

FOLDER = Path(__file__).parent.parent / "cli" / "golden"
COLUMNS = 80
# Colours and weights may be there, and a line may be erased; nothing else may reach a terminal.
_STYLES = re.compile(r"\x1b\[[\d;]*m")
_REPLACED = [
    (re.compile(r"\b[0-9a-f]{32}\b"), "0123456789abcdef0123456789abcdef"),
    (re.compile(r"\b\d+\.\d(?= s\b)"), "0.1"),
    (re.compile(r"\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d+)?"), r"2026-01-02\g<1>03:04:05"),
    (re.compile(r"\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d(?!:)"), r"2026-01-02\g<1>03:04"),
    (re.compile(r'("\w*(?:seconds|duration)\w*": )\d[\d.e+-]*'), r"\g<1>0.1"),
]


@attrs.frozen
class Written:
    """What a command wrote. On a terminal `out` holds stderr, too, as people see it."""

    out: str
    err: str
    exit_code: int


def run_command(*arguments: str, on_terminal: bool = False) -> Written:
    """Run a command in this process, with stdout and stderr in a pipe or on a terminal."""
    variables = {"COLUMNS": str(COLUMNS), "LINES": "24", "TERM": "xterm-256color"}
    with mock.patch.dict(os.environ, variables):
        if on_terminal:
            with _terminal() as (stream, text):
                code = _exit_code(arguments, stream, stream)
            return Written(_without_styles("".join(text)), "", code)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "oe")
        code = _exit_code(arguments, out, err)
        return Written(*(s.buffer.getvalue().decode() for s in (out, err)), code)  # type: ignore[attr-defined]


def record(
    command: str,
    *arguments: str,
    root: Path,
    as_json: bool,
    replace: Mapping[str, str],
    patterns: Mapping[str, str],
    reset: Callable[[], object],
) -> str:
    """Run a command in each way and give the text of its golden file."""
    words = ["trackyard", *command.split(), *arguments]
    line = shlex.join(words).replace("\x1b", "\\x1b")
    reset()
    parts = [f"On a terminal of {COLUMNS} columns", _shown(line, words[1:], on_terminal=True)]
    reset()
    parts += ["In a pipe", _shown(line, words[1:])]
    if as_json:
        reset()
        parts += ["As JSON", _shown(f"{line} --json", [*words[1:], "--json"])]
    text = "\n\n".join(parts) + "\n"
    text = _with_placeholder(text, str(root), "/project")
    for old, new in replace.items():
        text = text.replace(old, new)
    own = [(re.compile(pattern), new) for pattern, new in patterns.items()]
    for pattern, new in [*own, *_REPLACED]:
        text = pattern.sub(new, text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def path_of(module: str) -> str:
    """Give the path of a module's file, which differs from machine to machine."""
    return str(importlib.import_module(module).__file__)


def compare(name: str, text: str) -> None:
    """Fail where a golden file says something else, or write it where that is asked for."""
    file = FOLDER / f"{name}.txt"
    if os.environ.get("REFRESH_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    hint = "if that is meant, type: REFRESH_GOLDEN=1 uv run pytest core/tests/cli"
    assert file.exists(), f"{file} is missing; {hint}"
    assert text == file.read_text(encoding="utf-8"), hint


def _shown(line: str, arguments: list[str], *, on_terminal: bool = False) -> str:
    written = run_command(*arguments, on_terminal=on_terminal)
    parts = [f"$ {line}\n{written.out.rstrip()}".rstrip()]
    if written.err:
        parts.append(f"stderr:\n{written.err.rstrip()}")
    if written.exit_code:
        parts.append(f"exit code {written.exit_code}")
    return "\n".join(parts)


def _exit_code(arguments: tuple[str, ...], out: io.TextIOBase, err: io.TextIOBase) -> int:
    with (
        mock.patch.object(sys, "stdin", io.StringIO()),
        redirect_stdout(out),  # type: ignore[type-var]
        redirect_stderr(err),  # type: ignore[type-var]
    ):
        try:
            cli.main(list(arguments), prog_name="trackyard")
        except SystemExit as error:
            return int(error.code or 0)
    return 0


@contextmanager
def _terminal() -> Iterator[tuple[io.TextIOBase, list[str]]]:
    """Give a stream that is a terminal, and the texts that were written to it."""
    reading, writing = os.openpty()
    texts: list[str] = []
    reader = Thread(target=_read, args=(reading, texts), daemon=True)
    reader.start()
    try:
        with os.fdopen(writing, "w", encoding="utf-8", newline="\n") as stream:
            yield stream, texts
    finally:
        reader.join(30)
        os.close(reading)


def _read(descriptor: int, texts: list[str]) -> None:
    content = b""
    while True:
        try:
            more = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        content += more
    texts.append(content.decode().replace("\r\n", "\n"))


def _without_styles(text: str) -> str:
    plain = re.sub(r"[^\n]*\r\x1b\[K", "", _STYLES.sub("", text))  # a line that was overwritten
    assert "\x1b" not in plain, "an escape sequence other than a colour went to the terminal"
    return plain


def _with_placeholder(text: str, path: str, name: str) -> str:
    """Replace a path by one as long, also where it goes on in another line of a cell."""
    placeholder = name + "_" * (len(path) - len(name))
    pattern = r"(?:\s*\n\s*)?".join(re.escape(c) for c in path)

    def replaced(found: re.Match[str]) -> str:
        left = iter(placeholder)
        return "".join(c if c.isspace() else next(left) for c in found[0])

    return re.sub(pattern, replaced, text)
