"""`trackyard runs`: which commands look at runs? Each stands in a module of its own."""

from __future__ import annotations

import click

from trackyard.cli.groups import LazyGroup

_COMMANDS = {
    "list": ("runs_list:list_runs", "List runs."),
    "show": ("runs_show:show", "Show a run: steps, params, metrics, curves, health."),
    "compare": ("runs_compare:compare", "Compare runs side by side."),
    "url": ("runs_urls:url", "Print a run's address on a tracker."),
    "open": ("runs_urls:open_run", "Open a run's page in a browser."),
    "export": ("runs_export:export", "Write runs as JSON, CSV or Parquet."),
    "download": ("runs_download:download", "Save the files that a run logged."),
    "verify": ("runs_verify:verify", "Compare a run on its trackers with its journal."),
    "delete": ("runs_delete:delete", "Delete runs here."),
}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def runs() -> None:
    """Runs: what came of them, and what is kept of them."""
