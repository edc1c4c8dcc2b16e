"""Write the page of the commands, as the code declares them.

Run it with `uv run docs/write_cli.py` after a change; a test says when that is due.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from trackyard.cli.main import cli

PAGE = Path(__file__).parent / "reference" / "cli.md"
HEAD = """\
# Commands

`trackyard` and `python -m trackyard` are the same.
`-h` and `--help` of a command show what it takes.
`register NAME -f FLAVOR --help` shows the fields of that flavor, too, and
`run FILE:PIPELINE --help` the parameters of that pipeline.
Options for fields and parameters may be typed with underscores: `--tracking_uri` is
`--tracking-uri`.

On a terminal there are tables, in a pipe lines with tabs between the cells and no headings.
`--json` writes what [its own page](json.md) says.
The exit code is 0, 1 where something failed, or 2 where the command was typed wrongly.
Errors go to stderr and say what to type.
Ctrl-C ends a command without a word and with exit code 130.
`ui` and `sync --watch`, which run until Ctrl-C, end with 0 then.

This page is written by `docs/write_cli.py`.
"""


def page() -> str:
    """Give the page's text as it should be."""
    commands = list(walk(cli, "trackyard"))
    table = "".join(
        f"| [`{path}`](#{path.replace(' ', '-')}) | {line} |\n" for path, line, _ in commands
    )
    parts = [HEAD, f"| command | what it does |\n|---|---|\n{table}"]
    parts += [section(path, command) for path, _, command in commands]
    return "\n".join(parts)


def walk(group: click.Group, path: str) -> Iterator[tuple[str, str, click.Command]]:
    """Give each command with its path and its line in the help."""
    context = click.Context(group, info_name=path)
    lines = {name: line for name, (_, line) in group.commands_by_name.items()}
    for name, line in lines.items():  # not those of plugins
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from walk(command, f"{path} {name}")
        else:
            yield f"{path} {name}", line, command


def section(path: str, command: click.Command) -> str:
    """Describe a command."""
    context = click.Context(command, info_name=path)
    params = [param for param in command.get_params(context) if "--help" not in param.opts]
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    text = inspect.cleandoc(command.help or "")
    parts = [f"## {path}\n", f"```text\n{usage}\n```\n", f"{text}\n"]
    options = [p for p in params if isinstance(p, click.Option) and not p.hidden]
    rows = [record for option in options if (record := option.get_help_record(context))]
    if rows:
        cells = "".join(f"| `{escaped(name)}` | {escaped(said)} |\n" for name, said in rows)
        parts.append(f"| option | what it says |\n|---|---|\n{cells}")
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Keep a text in its cell of a table."""
    return re.sub(r"\s+", " ", text.replace("|", "\\|"))


if __name__ == "__main__":
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        PAGE.write_text(page(), encoding="utf-8")
        print(f"{PAGE} has changed", file=sys.stderr)
