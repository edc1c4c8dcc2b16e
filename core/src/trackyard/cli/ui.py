"""`trackyard ui`: how does one open a tracker's own page?"""

from __future__ import annotations

import os

import click

from trackyard.config import find_project
from trackyard.dispatch import TrackerHooks
from trackyard.errors import ConfigError, TrackyardError
from trackyard.trackers import Trackers


@click.command()
@click.argument("name", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port; the tracker's own by default.")
def ui(name: str | None, host: str, port: int | None) -> None:
    """Serve the page of the tracker NAME, or of the active stack's first one; Ctrl-C ends it."""
    trackers = Trackers(find_project())
    names = trackers.stack.experiment_trackers
    if name is None and not names:
        raise ConfigError(
            "the active stack has no experiment tracker; type: pip install trackyard-mlflow"
        )
    tracker = trackers.select(name or names[0])[0]
    hooks = TrackerHooks.of(tracker)
    outcome = hooks.ui_command(host, port)
    if outcome.reason:
        raise TrackyardError(f"experiment tracker {tracker.name!r}: {outcome.reason}")
    if not outcome.value:
        raise TrackyardError(
            f"experiment tracker {tracker.name!r} has no page of its own to serve; "
            f"open its server's address instead"
        )
    try:  # the server takes this process's place: a signal that ends one ends the other
        os.execvp(outcome.value[0], outcome.value)  # noqa: S606 - it comes from a flavor
    except OSError as error:
        raise TrackyardError(f"{outcome.value[0]} cannot be run: {error.strerror}") from error
