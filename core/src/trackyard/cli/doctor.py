"""`trackyard doctor`: what is wrong, and what helps?"""

from __future__ import annotations

import sys

import click

from trackyard.cli.output import is_terminal, json_option, remark, say, show_json, show_table
from trackyard.runs.doctor import PATIENCE, Finding, examine
from trackyard.runs.health import health_lines
from trackyard.system.showing import line

_MARKS = {"ok": "✓", "note": "·", "problem": "✗"}
_COLUMNS = {
    "status": "STATUS",
    "area": "AREA",
    "subject": "SUBJECT",
    "text": "FOUND",
    "advice": "ADVICE",
}


@click.command()
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=PATIENCE,
    show_default=True,
    help="Seconds that trackers may take to answer.",
)
@click.option(
    "--connect",
    is_flag=True,
    help="Ask the trackers, too: reads secrets, imports the project's `module:Class`.",
)
@json_option
def doctor(patience: float, connect: bool, as_json: bool) -> None:
    """Look for what is wrong: configuration, plugins, trackers, runs, disk and store.

    No run is changed by it. Each problem comes with what to type; with one the exit code is 1.
    """
    diagnosis = examine(patience=patience, connect=connect)
    if as_json:
        show_json(diagnosis)
    elif is_terminal():
        for finding in diagnosis.findings:
            _show(finding)
        for text in health_lines(diagnosis.trackers):
            say(f"  {text}")
        say(", ".join(f"{name} {number}" for name, number in diagnosis.versions.items()))
    else:
        show_table(diagnosis.findings, _COLUMNS, as_json=False, empty="")
    problems = len(diagnosis.problems)
    if not as_json:
        remark(f"{problems} problem(s)" if problems else "everything is well")
    sys.exit(1 if problems else 0)


def _show(finding: Finding) -> None:
    say(f"{_MARKS[finding.status]} {finding.area} {finding.subject}")
    click.echo(click.wrap_text(line(finding.text), 78, "    ", "    "))
    if finding.advice:
        click.echo(click.wrap_text(line(finding.advice), 78, "    ", "    "))
