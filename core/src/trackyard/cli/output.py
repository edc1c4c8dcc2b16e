"""How is a table shown: on a terminal, in a pipe and as JSON?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


def show_table(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool, empty: str
) -> None:
    """Write rows as a table on a terminal, as lines with tabs in a pipe, or as JSON.

    Args:
        rows: What to show; JSON holds every key, a table those in `columns`.
        columns: Heading by key, in order.
        as_json: Write a JSON list.
        empty: What a table says where there are no rows.
    """
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
        return
    if not rows:
        click.echo(empty, err=True)
        return
    cells = [[_text(row.get(key, "")) for key in columns] for row in rows]
    if not sys.stdout.isatty():
        for line in cells:
            click.echo("\t".join(line))
        return
    _show_on_terminal(list(columns.values()), cells)


def _show_on_terminal(heads: list[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for line in cells:
        table.add_row(*(Text(cell) for cell in line))
    Console().print(table)


def _text(value: Any) -> str:
    """Write a cell; control characters would move the cursor or break a line."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)
