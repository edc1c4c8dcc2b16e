"""`trackyard store`: how is the index of runs made anew, and brought up to date?"""

from __future__ import annotations

import click

from trackyard.cli.groups import LazyGroup
from trackyard.cli.output import json_option, remark, show_json
from trackyard.project.configuration import find_project

_COMMANDS = {
    "rebuild": ("trackyard.cli.store:rebuild", "Make the index anew from the runs' journals."),
    "upgrade": ("trackyard.cli.store:upgrade", "Bring a team's database up to date."),
}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def store() -> None:
    """The index of runs: what is listed, sorted and searched stands there."""


@click.command()
@json_option
def rebuild(as_json: bool) -> None:
    """Make the index anew from the runs' journals that are on this machine.

    Nothing is deleted that only the store knows, such as outputs and the runs of others. The
    points of a run that has ended are not read again, since its summary lies beside its journal.
    """
    from trackyard.recovery.indexing import rebuild_index

    def show(done: int, of: int) -> None:
        remark(f"{done} of {of} runs")

    done, left = rebuild_index(find_project(), show)
    if as_json:
        show_json({"indexed": done, "unreadable": left})
        return
    remark(f"in the index: {done} run(s); folders that cannot be read: {left}")


@click.command()
@json_option
def upgrade(as_json: bool) -> None:
    """Bring the store up to date with this Trackyard.

    An sqlite store does so by itself. A team's database does not: programs of older versions
    cannot write it afterwards, and keep what they have to write until they are upgraded, too.
    """
    from trackyard.store.opening import database_of
    from trackyard.store.schema import SCHEMA_VERSION, bring_up_to_date

    database = database_of(find_project())
    try:
        bring_up_to_date(database, is_asked_for=True)
    finally:
        database.close()
    if as_json:
        show_json({"store": database.place, "format": SCHEMA_VERSION})
        return
    remark(f"{database.place}: is of format {SCHEMA_VERSION}")
