"""`trackyard exec`: how is a command tracked that knows nothing of Trackyard?"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import click
from click.core import ParameterSource

from trackyard.cli.completing import tracker_names
from trackyard.cli.options import as_mapping, pairs
from trackyard.cli.output import show_json
from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import Run, encodable
from trackyard.project.configuration import Project, find_project
from trackyard.project.sources import select_sources, with_sources
from trackyard.project.trackers import Tracker, Trackers
from trackyard.system.environment import is_disabled
from trackyard.system.showing import line
from trackyard.tracking.arguments import LAST_ATTEMPT
from trackyard.tracking.blocks import started_step
from trackyard.tracking.calls import redactor_of
from trackyard.tracking.commands import CommandError, run_command
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.new_runs import new_run
from trackyard.tracking.program_names import program_name
from trackyard.tracking.resuming import find_resumable
from trackyard.tracking.step_records import StepRecord


def _filled(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value == "":
        raise click.BadParameter(f"it is empty; give it as {parameter.opts[0]} NAME, or not at all")
    return None if value is None else encodable(value)


_name_option = partial(click.option, callback=_filled)


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
@click.option(
    "--capture",
    multiple=True,
    metavar="FLAVOR[=FOLDER]",
    help="Capture calls of an SDK, or read its files in FOLDER; several. The stack's by default.",
)
@_name_option("--name", help="Name of the run; by default the program's, or its script's.")
@_name_option("--experiment", default="default", show_default=True, help="Its experiment.")
@_name_option("--resume", help="Name or id of an ended run that goes on, on its own trackers.")
@_name_option("--pipeline", help="Name of the pipeline that it is a step of.")
@_name_option("--step", help="Name of the step; by default likewise.")
@_name_option("--run", help="Name of the pipeline's run: its steps become one pipeline run.")
@click.option(
    "--attempt",
    type=click.IntRange(1, LAST_ATTEMPT),
    metavar="NUMBER",
    help="2 for a first retry; counted by default.",
)
@click.option("--param", multiple=True, callback=pairs, metavar="KEY=VALUE", help="A param.")
@click.option("--tag", multiple=True, callback=pairs, metavar="KEY=VALUE", help="A tag.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Write JSON, for programs, as the last line of stderr: stdout is COMMAND's.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec_(
    context: click.Context, /, command: tuple[str, ...], *, as_json: bool, **options: Any
) -> None:
    """Run COMMAND as a tracked run, such as: trackyard exec -e team -- python train.py.

    The run ends as the command does: finished with exit code 0, failed with any other, killed or
    crashed by a signal. Signals are passed on to it, and its exit code is that of this command:
    127 where there is no such command, 126 where it cannot be executed.
    In it, `trackyard log` and the calls of the library log into the run.
    """
    pipeline, step, run = options["pipeline"], options["step"], options["run"]
    if (step or run or options["attempt"]) and not pipeline:
        raise click.UsageError(
            "--step, --run and --attempt belong to a pipeline; add --pipeline NAME"
        )
    if not _is_given(context, "experiment") and options["resume"]:
        options["experiment"] = None
    project = find_project()
    if options["resume"] and not is_disabled():
        _refuse_beside_resume(context)
        run_it, tracked = _resumed(project, command, options)
    else:
        run_it, tracked = _new(project, command, options)
    code = _code_of(run_it)
    if as_json:
        show_json(_end_of(tracked, code), on_one_line=True, on_stderr=True)
    sys.exit(code)


def _is_given(context: click.Context, option: str) -> bool:
    return context.get_parameter_source(option) is ParameterSource.COMMANDLINE


def _refuse_beside_resume(context: click.Context) -> None:
    """Refuse what a run has that goes on: its name and its trackers are there."""
    others = {"names": "-e", "capture": "--capture", "name": "--name", "pipeline": "--pipeline"}
    for option, typed in others.items():
        if _is_given(context, option):
            raise click.UsageError(f"--resume goes on with a run as it is; leave out {typed}")


def _resumed(
    project: Project, command: tuple[str, ...], options: Mapping[str, Any]
) -> tuple[Callable[[], int], Run]:
    """Give what runs a command as the next session of a run, and that run."""
    found = find_resumable(project, options["resume"], options["experiment"])
    redactor = redactor_of(found.trackers)
    group = RunGroup(project, redactor, command=command)
    params, tags = as_mapping(options["param"]), as_mapping(options["tag"])
    what = (command, group, found.run, found.trackers, params)
    return partial(run_command, *what, tags=tags, parent=found.parent), found.run


def _new(
    project: Project, command: tuple[str, ...], options: Mapping[str, Any]
) -> tuple[Callable[[], int], Run]:
    """Give what runs a command as a run of its own, and that run."""
    pipeline, step, run = options["pipeline"], options["step"], options["run"]
    names = list(options["names"]) or True
    trackers: list[Tracker] = []
    if not is_disabled():
        configured = Trackers(project)
        sources = select_sources(configured, list(options["capture"]) or None)
        trackers = with_sources(configured.select(names), sources)
    redactor = redactor_of(trackers)
    step = step or options["name"] or encodable(program_name(command))
    whole = redactor.redact(shlex.join(command))[:5000]
    tags = {key: redactor.redact(value) for key, value in as_mapping(options["tag"]).items()}
    tags = {"trackyard.command": whole, **tags}
    params, group = as_mapping(options["param"]), RunGroup(project, redactor, command=command)
    record: StepRecord | None = None
    if pipeline:
        if run:
            tags = {"trackyard.run_name": redactor.redact(run), **tags}
        named = {"pipeline": pipeline, "run": run, "step": step, "attempt": options["attempt"]}
        record = StepRecord(project, redactor, **named)
        tracked = started_step(record, pipeline, tags)
    else:
        tracked = new_run(step, options["experiment"] or "default", tags=tags)
    if options["name"]:
        tracked = attrs.evolve(tracked, name=options["name"])
    return partial(run_command, command, group, tracked, trackers, params, record=record), tracked


def _code_of(run_it: Callable[[], int]) -> int:
    """Give the exit code of a command, or the one that shells give where it cannot be started."""
    try:
        return run_it()
    except CommandError as error:
        click.ClickException(line(str(error))).show()
        return error.exit_code


def _end_of(run: Run, code: int) -> dict[str, Any]:
    """Say which run it was, and how it ended."""
    from trackyard.client import Client  # what it needs costs 190 ms

    end = {"id": run.id, "name": run.name, "exit_code": code, "status": "", "urls": {}}
    with suppress(TrackyardError):  # on a full disk the run is kept elsewhere
        view = Client().get_run(run.id)
        end |= {"status": view.status, "urls": view.urls}
    return end
