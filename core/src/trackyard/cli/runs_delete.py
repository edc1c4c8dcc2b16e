"""`trackyard runs delete`: how is a run deleted here?"""

from __future__ import annotations

import shlex
import sys

import click

from trackyard.cli.completing import run_names
from trackyard.cli.output import json_option, say, show_json
from trackyard.client import Client
from trackyard.contract.errors import TrackyardError


@click.command()
@click.argument("runs", nargs=-1, required=True, shell_complete=run_names)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--outputs", is_flag=True, help="Delete their outputs in the artifact store, too.")
@click.option(
    "--force",
    is_flag=True,
    help="Delete also what some tracker does not have, and outputs that other runs have read.",
)
@json_option
def delete(runs: tuple[str, ...], yes: bool, outputs: bool, force: bool, as_json: bool) -> None:
    """Delete RUNS here: from the store, with their steps and journals.

    What trackers hold of them stays there, and without --outputs their outputs stay in the artifact
    store. What some tracker does not have is deleted with --force alone.
    """
    client = Client()
    names = {client.get_run(run).id: client.get_run(run).name for run in runs}
    if not yes and not as_json and sys.stdin.isatty():
        shown = ", ".join(repr(name) for name in names.values())
        if not click.confirm(f"delete {shown}?"):
            raise TrackyardError("nothing is deleted")
    elif not yes:
        more = " --outputs" if outputs else ""
        again = f"trackyard runs delete --yes{more} {shlex.join(runs)}"
        raise click.UsageError(f"nobody can be asked here; type: {again}")
    for run_id in names:
        client.delete_run(run_id, is_forced=force, with_outputs=outputs)
    if as_json:
        show_json(
            [{"id": run_id, "name": name, "is_deleted": True} for run_id, name in names.items()]
        )
        return
    for name in names.values():
        say(f"deleted run {name!r}")
