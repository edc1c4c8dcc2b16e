"""`trackyard runs tag`, `note` and `rename`: what does somebody say of a run after its start?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from trackyard.cli.completing import run_names
from trackyard.cli.options import as_mapping, pairs
from trackyard.cli.output import json_option, remark, show_table
from trackyard.client import Client

if TYPE_CHECKING:
    from trackyard.runs.annotating import SentAnnotation

_COLUMNS = {"run": "RUN", "tracker": "TRACKER", "state": "STATE", "problem": "PROBLEM"}


@click.command()
@click.argument("run", shell_complete=run_names)
@click.argument("tags", nargs=-1, required=True, callback=pairs, metavar="KEY=VALUE...")
@json_option
def tag(run: str, tags: Sequence[str], as_json: bool) -> None:
    """Set tags of RUN: in the store, in its journal, and on its trackers.

    RUN may have been made by anybody, on any machine, where the team has a store.
    """
    _show(Client().set_tags(run, as_mapping(tags)), as_json=as_json)


@click.command()
@click.argument("run", shell_complete=run_names)
@click.argument("text")
@json_option
def note(run: str, text: str, as_json: bool) -> None:
    """Write the note TEXT about RUN, in the place of the one before.

    It goes where tags go; an empty TEXT takes the note away.
    """
    _show(Client().set_note(run, text), as_json=as_json)


@click.command()
@click.argument("run", shell_complete=run_names)
@click.argument("name")
@json_option
def rename(run: str, name: str, as_json: bool) -> None:
    """Give RUN another NAME; its id stays, and with it its addresses."""
    _show(Client().rename_run(run, name), as_json=as_json)


def _show(rows: Sequence[SentAnnotation], *, as_json: bool) -> None:
    show_table(rows, _COLUMNS, as_json=as_json, empty="written; it is on no experiment tracker")
    if any(row.state == "pending" for row in rows) and not as_json:
        remark("what is pending is sent by: trackyard sync")
