"""`trackyard run`: how is a pipeline run from a shell?"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from trackyard.cli.completing import run_names, stack_names, tracker_names
from trackyard.cli.fields_command import FieldOption, FieldType
from trackyard.cli.output import is_terminal, json_option, remark, say, show_json
from trackyard.cli.run_arguments import arguments_of, dashed, fields_of, parse, typed
from trackyard.cli.run_files import RunFile, read_run_files, run_name
from trackyard.contract.errors import ConfigError, TrackyardError
from trackyard.pipelines.loading import load_pipeline
from trackyard.pipelines.resuming import Resumed, find_resumed
from trackyard.project.choosing import choose_project
from trackyard.project.configuration import find_project
from trackyard.project.fields import (
    Field,
    parameters_of,
)
from trackyard.project.stacks import active_stack, load_stacks
from trackyard.project.trackers import Trackers
from trackyard.system.coercing import to_param
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from trackyard.pipelines import Pipeline
    from trackyard.pipelines.graph import Graph
    from trackyard.runs.pipeline_views import PipelineRun

_PIPELINE = "trackyard.pipeline"
_TRACKER = "experiment_tracker"
_TITLE = "Parameters of the pipeline"


class RunCommand(click.Command):
    """A command with an option for each parameter of the pipeline that its arguments name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Import the pipeline first, so that its parameters are options."""
        reference = _reference(args)
        if reference is not None and not ctx.resilient_parsing:  # a shell runs no code of the user
            try:
                _choose_project(reference)
                with _stdout_on_stderr("--json" in args):
                    ctx.meta[_PIPELINE] = load_pipeline(reference)
            except TrackyardError as error:
                if {"-h", "--help"} & {*args}:
                    remark(f"Note: {error}")
                    ctx.ignore_unknown_options = True
                    return super().parse_args(ctx, args)
                raise click.UsageError(str(error), ctx) from error
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Give the command's own parameters and the pipeline's."""
        *params, help_option = super().get_params(ctx)
        return [*params, *_options(ctx, params), help_option]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the pipeline's parameters below a title of their own."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": [], _TITLE: []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                groups[_TITLE if isinstance(param, FieldOption) else "Options"].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the pipeline says of itself, too."""
        super().format_help_text(ctx, formatter)
        pipeline: Pipeline | None = ctx.meta.get(_PIPELINE)
        text = inspect.getdoc(pipeline.function) if pipeline else None
        if pipeline and text:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(f"{pipeline.name}: {text.partition(chr(10) * 2)[0]}")


class _ParameterType(FieldType):
    """What a pipeline's parameter takes."""

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> Any:
        """Check a text."""
        try:
            parse(self.field, value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


@click.command(cls=RunCommand)
@click.argument("reference", metavar="FILE:PIPELINE")
@click.option(
    "--stack", shell_complete=stack_names, help="Run on this stack instead of the active one."
)
@click.option(
    "-e",
    "--experiment-tracker",
    "experiment_trackers",
    multiple=True,
    shell_complete=tracker_names,
    help="Track every step here, whatever the steps say; several.",
)
@click.option(
    "-p", "--param", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter; several."
)
@click.option(
    "--config",
    "configs",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with parameters, stack and options of steps; several, the last one counts most.",
)
@click.option(
    "--name", "run_named", help="The run's name, such as '{pipeline}-{params.rate}-{date}'."
)
@click.option(
    "--resume",
    "resumes",
    metavar="RUN",
    shell_complete=run_names,
    help="Take the steps that finished from this run, and its parameters.",
)
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    reference: str,
    stack: str | None,
    experiment_trackers: tuple[str, ...],
    pairs: tuple[str, ...],
    configs: tuple[Path, ...],
    run_named: str | None,
    resumes: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Run a pipeline, such as `trackyard run train.py:training --rate 0.1`.

    FILE may be a module, too. The pipeline's parameters are options, of the types that its
    annotations say; `trackyard run train.py:training --help` shows them. Its progress goes to
    stderr, its name to stdout. Exit code 1 says that a step failed.
    """
    if _PIPELINE not in ctx.meta:  # such as `-`, which is no option
        raise click.UsageError("name a file and a pipeline, such as train.py:training", ctx)
    pipeline: Pipeline = ctx.meta[_PIPELINE]
    file = read_run_files(configs, [field.name for field in fields_of(pipeline)])
    wanted = stack if stack is not None else file.stack
    if wanted is not None:
        _choose_stack(wanted)
    resumed = find_resumed(find_project(), resumes, pipeline.name) if resumes else None
    arguments = arguments_of(ctx, pipeline, typed(ctx, pipeline, given, pairs), file, resumed)
    place, _, _ = reference.partition(":")
    sys.argv = [place]
    error: Exception | None = None
    with _stdout_on_stderr(as_json):
        file = attrs.evolve(file, name=run_named or file.name)
        runner = _runner(pipeline, arguments, experiment_trackers, file, resumed)
        try:
            came = runner.run()
        except Exception as raised:  # what a step raised: the run itself is stored all the same
            if not runner.has_ended:
                raise
            error, came = raised, runner.ended()
    _show(came, as_json)
    if error is not None:
        _show_error(error)
        sys.exit(1)


@contextmanager
def _stdout_on_stderr(is_wanted: bool) -> Iterator[None]:
    """Keep what the user's code prints, and its child processes, out of the JSON on stdout."""
    if not is_wanted:
        yield
        return
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
        kept = os.dup(descriptor)
    except (OSError, ValueError):
        with redirect_stdout(sys.stderr):
            yield
        return
    try:
        with redirect_stdout(sys.stderr):
            os.dup2(sys.stderr.fileno(), descriptor)
            yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def _runner(
    pipeline: Pipeline,
    arguments: dict[str, Any],
    trackers: tuple[str, ...],
    file: RunFile,
    resumed: Resumed | None,
) -> Any:
    from trackyard.pipelines.runner import PipelineRunner

    project = find_project()
    graph, params = pipeline.build(**arguments)
    if trackers:
        Trackers(project).select(trackers)
    _set_options(graph, file, list(trackers))
    kept = {key: to_param(value) for key, value in params.items()}
    name = file.name and run_name(file.name, pipeline.name, Trackers(project).stack.name, kept)
    used = {key: value for key, value in attrs.asdict(file).items() if value}
    config = {"config": json.loads(json.dumps(used, default=str))} if used else None
    return PipelineRunner(graph, params, project, name=name, resumed=resumed, config=config)


def _set_options(graph: Graph, file: RunFile, trackers: list[str]) -> None:
    """Lay what a file says of steps, and the trackers of the command line, over the code's."""
    known = {name for node in graph.nodes.values() for name in (node.name, node.step.name)}
    for name in file.steps:
        if name not in known:
            hint = did_you_mean(name, known) or f"; steps are {listed(known)}"
            raise ConfigError(f"--config: steps.{name}: no step of this pipeline{hint}")
    of_all = {} if file.experiment_tracker is None else {_TRACKER: file.experiment_tracker}
    typed = {_TRACKER: trackers} if trackers else {}
    for name, node in graph.nodes.items():
        of_step = {**file.steps.get(node.step.name, {}), **file.steps.get(name, {})}
        if options := {**of_all, **of_step, **typed}:
            graph.nodes[name] = attrs.evolve(node, step=node.step.with_options(**options))


def _reference(args: list[str]) -> str | None:
    """Find FILE:PIPELINE before click has parsed the arguments."""
    takes_value = {"--stack", "-e", "--experiment-tracker", "-p", "--param"}
    takes_value |= {"--config", "--name", "--resume"}
    others = [
        argument
        for before, argument in zip(["", *args], args, strict=False)
        if before not in takes_value and not argument.startswith("-")
    ]
    named = [argument for argument in others if ":" in argument or argument.endswith(".py")]
    return next(iter([*named, *others]), None)


def _options(ctx: click.Context, own: list[click.Parameter]) -> list[FieldOption]:
    pipeline: Pipeline | None = ctx.meta.get(_PIPELINE)
    taken = {name for param in own for name in param.opts} | {"--help"}
    fields = parameters_of(pipeline.function) if pipeline else ()
    return [_option(field) for field in fields if f"--{dashed(field)}" not in taken]


def _option(field: Field) -> FieldOption:
    # A default must not be passed, not even None: click takes it for a given value.
    names = dict.fromkeys((f"--{dashed(field)}", f"--{field.name}", f"field_{field.name}"))
    notes = ["required"] if field.is_required else []
    notes += [f"default: {field.default}"] if field.default else []
    note = f"  [{'; '.join(notes)}]" if notes else ""
    return FieldOption(
        list(names),
        title=_TITLE,
        type=_ParameterType(field),
        multiple=field.is_many,
        help=f"{field.help}{note}".strip(),
        metavar=field.type.replace(" or ", "|").replace(" ", "-").upper(),
        **({"is_flag": False, "flag_value": "true"} if field.annotation is bool else {}),
    )


def _dashed(field: Field) -> str:
    return field.name.replace("_", "-")


def _choose_project(reference: str) -> None:
    """Let the pipeline's file say which project counts, where this folder is in none."""
    file = Path(reference.partition(":")[0])
    if file.is_file() and find_project().own_layer is None:
        found = find_project(file.absolute().parent)
        if found.own_layer is not None:
            choose_project(found.root)


def _choose_stack(name: str) -> None:
    project = find_project()
    stacks = load_stacks(project)
    if name not in (stacks or {active_stack(project).name}):
        hint = did_you_mean(name, stacks) or f"; configured are {listed(stacks)}"
        raise ConfigError(f"no stack {name!r} is configured{hint}")
    os.environ["TRACKYARD_ACTIVE_STACK"] = name if stacks else ""


def _show(came: PipelineRun, as_json: bool) -> None:
    if as_json:
        show_json(_as_table(came))
    elif not is_terminal():
        say(came.name)


def _as_table(came: PipelineRun) -> dict[str, Any]:
    return {
        "name": came.name,
        "id": came.id,
        "pipeline": came.pipeline,
        "stack": came.stack,
        "status": came.status,
        "seconds": came.duration,
        "params": came.params,
        "steps": [
            {
                "name": step.name,
                "id": step.id,
                "status": step.status,
                "attempt": step.attempt,
                "seconds": step.duration,
                "error": step.error,
                "metrics": dict(step.metrics),
                "url": step.url,
            }
            for step in came.steps.values()
        ],
    }


def _show_error(error: Exception) -> None:
    """Show where the step's own code failed, without our frames above it."""
    if isinstance(error, TrackyardError):
        raise error
    from trackyard.pipelines.travelling import RemoteTraceback

    if isinstance(error.__cause__, RemoteTraceback):  # of another process, which says it all
        parts = _without_our_frames(error.__cause__.args[0])
    else:
        shown = traceback.TracebackException.from_exception(error)
        _leave_out_ours(shown)
        parts = [part for text in shown.format() for part in text.splitlines()]
    for part in parts:
        click.echo("".join(c if c.isprintable() or c == "\t" else "?" for c in part), err=True)


def _without_our_frames(text: str) -> list[str]:
    """Leave out frames of ours, each with the lines of code below it."""
    ours = f'  File "{Path(__file__).parents[1]}{os.sep}'
    parts, is_ours = [], False
    for part in text.splitlines():
        is_ours = part.startswith(ours) or (is_ours and part.startswith("    "))
        if not is_ours:
            parts.append(part)
    return parts


def _leave_out_ours(shown: traceback.TracebackException) -> None:
    ours = str(Path(__file__).parents[1]) + os.sep
    frames = [frame for frame in shown.stack if not frame.filename.startswith(ours)]
    shown.stack = traceback.StackSummary.from_list(frames)
    causes = (shown.__cause__, shown.__context__, *(shown.exceptions or ()))
    for cause in filter(None, causes):
        _leave_out_ours(cause)
