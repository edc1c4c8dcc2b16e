"""`trackyard archive`: how does a colleague get runs as one file?"""

from __future__ import annotations

from pathlib import Path

import click

from trackyard.cli.completing import run_names
from trackyard.cli.output import json_option, say, show_json
from trackyard.client import Client


@click.command()
@click.argument("runs", nargs=-1, required=True, shell_complete=run_names)
@click.option(
    *("-o", "--output", "file"),
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file, such as runs.trackyard.",
)
@json_option
def archive(runs: tuple[str, ...], file: Path, as_json: bool) -> None:
    """Write RUNS with all that was logged into one file, to be sent to a colleague.

    RUNS are names, ids or prefixes of ids; a pipeline run stands for all of its steps' runs. Who
    gets the file types: trackyard import archive:FILE. Trackers and secrets are not in it.
    """
    count = Client().archive_runs(*runs, file=file)
    if as_json:
        show_json({"file": str(file), "runs": count})
    else:
        say(f"wrote {count} run(s) to {file}; to read it type: trackyard import archive:{file}")
