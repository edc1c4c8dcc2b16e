"""`trackyard runs`: which commands look at runs? Each stands in a module of its own."""

from __future__ import annotations

import click

from trackyard.cli.groups import LazyGroup

_COMMANDS = {
    "list": ("trackyard.cli.runs_list:list_runs", "List runs."),
    "show": ("trackyard.cli.runs_show:show", "Show a run: steps, params, metrics, curves, health."),
    "logs": ("trackyard.cli.runs_logs:logs", "Show what a run printed, also while it runs."),
    "compare": ("trackyard.cli.runs_compare:compare", "Compare runs side by side."),
    "url": ("trackyard.cli.runs_urls:url", "Print a run's address on a tracker."),
    "open": ("trackyard.cli.runs_urls:open_run", "Open a run's page in a browser."),
    "export": ("trackyard.cli.runs_export:export", "Write runs as JSON, CSV or Parquet."),
    "download": ("trackyard.cli.runs_download:download", "Save the files that a run logged."),
    "verify": (
        "trackyard.cli.runs_verify:verify",
        "Compare a run on its trackers with its journal.",
    ),
    "tag": ("trackyard.cli.runs_annotate:tag", "Set tags of a run."),
    "note": ("trackyard.cli.runs_annotate:note", "Write a note about a run."),
    "rename": ("trackyard.cli.runs_annotate:rename", "Give a run another name."),
    "end": ("trackyard.cli.runs_end:end", "End a run whose machine is gone."),
    "delete": ("trackyard.cli.runs_delete:delete", "Delete runs here."),
}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def runs() -> None:
    """Runs: what came of them, and what is kept of them."""
