"""`trackyard exec`: how is a command tracked that knows nothing of Trackyard?"""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import click

from trackyard.cli.completing import tracker_names
from trackyard.cli.options import as_mapping, pairs
from trackyard.cli.output import show_json
from trackyard.config.project import find_project
from trackyard.errors import TrackyardError
from trackyard.records import Run
from trackyard.trackers import Trackers
from trackyard.tracking.blocks import started_step
from trackyard.tracking.calls import redactor_of
from trackyard.tracking.commands import run_command
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.step_records import StepRecord
from trackyard.tracking.tracked_runs import is_disabled, new_run


@click.command(
    name="exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "-e",
    "--experiment-tracker",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=tracker_names,
    help="An experiment tracker; several. All of the active stack by default.",
)
@click.option("--name", help="Name of the run; the command's by default.")
@click.option("--experiment", default="default", show_default=True, help="Its experiment.")
@click.option("--pipeline", help="Name of the pipeline that it is a step of.")
@click.option("--step", help="Name of the step; the command's by default.")
@click.option("--run", help="Name of the pipeline's run: its steps become one pipeline run.")
@click.option("--attempt", type=int, help="2 for a first retry; counted by default.")
@click.option("--param", multiple=True, callback=pairs, metavar="KEY=VALUE", help="A param.")
@click.option("--tag", multiple=True, callback=pairs, metavar="KEY=VALUE", help="A tag.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Write JSON, for programs, as the last line of stderr: stdout is COMMAND's.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(command: tuple[str, ...], *, as_json: bool, **options: Any) -> None:
    """Run COMMAND as a tracked run, such as: trackyard exec -e team -- python train.py.

    The run ends as the command does: finished with exit code 0, failed with any other, killed or
    crashed by a signal. Signals are passed on to it, and its exit code is that of this command.
    In it, `trackyard log` and the calls of the library log into the run.
    """
    pipeline, step, run = options["pipeline"], options["step"], options["run"]
    if (step or run or options["attempt"]) and not pipeline:
        raise click.UsageError(
            "--step, --run and --attempt belong to a pipeline; add --pipeline NAME"
        )
    project = find_project()
    names = list(options["names"]) or True
    trackers = [] if is_disabled() else Trackers(project).select(names)
    redactor = redactor_of(trackers)
    step = step or options["name"] or Path(command[0]).name
    line = redactor.redact(shlex.join(command))[:5000]
    tags = {key: redactor.redact(value) for key, value in as_mapping(options["tag"]).items()}
    tags = {"trackyard.command": line, **tags}
    params, group = as_mapping(options["param"]), RunGroup(project, redactor)
    record: StepRecord | None = None
    if pipeline:
        if run:
            tags = {"trackyard.run_name": redactor.redact(run), **tags}
        attempt = options["attempt"]
        record = StepRecord(
            project, redactor, pipeline=pipeline, run=run, step=step, attempt=attempt
        )
        tracked = started_step(record, pipeline, tags)
    else:
        tracked = new_run(step, options["experiment"], tags=tags)
    if options["name"]:
        tracked = attrs.evolve(tracked, name=options["name"])
    code = run_command(command, group, tracked, trackers, params, record=record)
    if as_json:
        show_json(_end_of(tracked, code), on_one_line=True, on_stderr=True)
    sys.exit(code)


def _end_of(run: Run, code: int) -> dict[str, Any]:
    """Say which run it was, and how it ended."""
    from trackyard.client import Client  # what it needs costs 190 ms

    end = {"id": run.id, "name": run.name, "exit_code": code, "status": "", "urls": {}}
    with suppress(TrackyardError):  # on a full disk the run is kept elsewhere
        view = Client().get_run(run.id)
        end |= {"status": view.status, "urls": view.urls}
    return end
