"""`trackyard experiment-tracker check`: does a tracker work, tried on its real backend?"""

from __future__ import annotations

import sys

import click

from trackyard.cli.completing import tracker_names
from trackyard.cli.output import is_terminal, json_option, remark, say, show_json
from trackyard.client import Client
from trackyard.registry.probing import PATIENCE, StageView, TrackerCheck
from trackyard.system.showing import line

_MARKS = {"done": "✓", "failed": "✗", "left out": "–"}


@click.command()
@click.argument("name", shell_complete=tracker_names)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=PATIENCE,
    show_default=True,
    help="Seconds that it may take in all.",
)
@json_option
def check(name: str, timeout: float, as_json: bool) -> None:
    """Try the experiment tracker NAME: read its secrets, start a run, log to it, end and delete it.

    The run is a real one, named trackyard-check. Exit code 1 says that something did not work.
    """
    client = Client()
    progress = None if as_json else _show
    came = client.check_experiment_tracker(name, patience=timeout, progress=progress)
    if as_json:
        show_json(came)
    else:
        _sum_up(came)
    if not came.is_working:
        sys.exit(1)


def _show(stage: StageView) -> None:
    if not is_terminal():
        click.echo("\t".join((stage.stage, stage.status, f"{stage.seconds:.1f}", line(stage.note))))
        return
    # An error stands at the end, with what to type.
    note = f"  {line(stage.note)}" if stage.note and stage.status != "failed" else ""
    click.echo(f"{_MARKS[stage.status]} {stage.stage:13} {stage.seconds:4.1f} s{note}")


def _sum_up(came: TrackerCheck) -> None:
    if came.url:
        say(came.url)
    if came.notice:
        remark(f"Notice: {came.notice}")
    if came.is_offline:
        remark("Note: its SDK keeps runs on this machine for now; upload them: trackyard sync")
    if not came.is_working:
        click.echo(
            f"Error: {line(f'experiment tracker {came.name!r} does not work: {came.problem}')}\n"
            f"{line(came.advice)}",
            err=True,
        )
    elif is_terminal():
        say(f"experiment tracker {came.name!r} works")
