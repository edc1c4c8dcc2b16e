"""How is something shown: on a terminal, in a pipe and as JSON?"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from trackyard.system.showing import in_a_cell, line, plain

if TYPE_CHECKING:
    from rich.segment import Segment

_Command = TypeVar("_Command", bound=Callable[..., Any])


def json_option(command: _Command) -> _Command:
    """Give a command the flag `--json`, which reaches its function as `as_json`."""
    option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
    return option(command)


def is_terminal() -> bool:
    """Tell whether stdout is a terminal."""
    return sys.stdout.isatty()


def show_json(value: Any, *, on_one_line: bool = False, on_stderr: bool = False) -> None:
    """Write a value, or a list of values, as JSON; odd numbers become null.

    Args:
        value: What is written.
        on_one_line: Without line breaks.
        on_stderr: To stderr in place of stdout.
    """
    indent = None if on_one_line else 2
    click.echo(json.dumps(plain(value), indent=indent, allow_nan=False), err=on_stderr)


def show_table(
    rows: Sequence[Any], columns: Mapping[str, str], *, as_json: bool, empty: str
) -> None:
    """Write rows as a table on a terminal, as lines with tabs in a pipe, or as JSON.

    Args:
        rows: Mappings or values of attrs classes; JSON holds every key, a table those in `columns`.
        columns: Heading by key, in order.
        as_json: Write a JSON list.
        empty: What a table says where there are no rows.
    """
    if as_json:
        show_json(rows)
        return
    if not rows:
        click.echo(empty, err=True)
        return
    tables = [_mapping(row) for row in rows]
    cells = [[line(in_a_cell(table.get(key, ""))) for key in columns] for table in tables]
    if is_terminal():
        show_on_terminal(list(columns.values()), cells)
        return
    for row in cells:
        click.echo("\t".join(row))


def show_values(value: Any, *, as_json: bool, leave_out: Sequence[str] = ()) -> None:
    """Write one value, a line for each of its keys, or as JSON.

    Args:
        value: A mapping or a value of an attrs class.
        as_json: Write a JSON object, of every key.
        leave_out: Keys that are shown elsewhere, or not to people.
    """
    if as_json:
        show_json(value)
        return
    table = {key: item for key, item in _mapping(value).items() if key not in leave_out}
    rows = [[key, line(text)] for key, item in table.items() if (text := in_a_cell(item))]
    if is_terminal():
        show_on_terminal([], rows)
        return
    for row in rows:
        click.echo("\t".join(row))


def show_on_terminal(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Write a table that fits the terminal; long cells go on in the next line.

    Args:
        heads: The titles of the columns.
        cells: The texts of each row.
    """
    from rich.console import Console
    from rich.segment import Segment, Segments
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=bool(heads))
    for index, head in enumerate(heads or cells[0]):
        # A name that is cut in two is no name: the last column gives way, and longer ones.
        words = [row[index] if index == 0 else word for row in cells for word in row[index].split()]
        longest = max(map(len, [head, *words]))
        width = min(longest, 36 if index == 0 else 22) if index < len(cells[0]) - 1 else None
        table.add_column(head, overflow="fold", min_width=width)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    lines = [[*_without_blanks(line), Segment.line()] for line in console.render_lines(table)]
    console.print(Segments([part for line in lines for part in line]), end="")


def _without_blanks(line: Sequence[Segment]) -> list[Segment]:
    """Leave out the blanks at the end of a line, which whoever copies it would get, too."""
    parts = list(line)
    while parts and not parts[-1].text.rstrip():
        parts.pop()
    return [*parts[:-1], *(part._replace(text=part.text.rstrip()) for part in parts[-1:])]


def say(text: str) -> None:
    """Write what was done, on a line."""
    click.echo(line(text))


def remark(text: str) -> None:
    """Write what one may want to know beside it, to stderr."""
    click.echo(line(text), err=True)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Let Ctrl-C end a block well, where that is how one ends it."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(err=True)  # the terminal has written ^C onto the line


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else attrs.asdict(value, recurse=False)


def bars(values: Sequence[float]) -> str:
    """Draw a curve on a line, in ASCII where stdout can hold nothing else."""
    from trackyard.runs.curves import sparkline

    text = sparkline(values)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return sparkline(values, is_plain=True)
    return text


def in_seconds(seconds: float | None) -> str:
    """Write how long something took."""
    return "" if seconds is None else f"{seconds:.1f}"
