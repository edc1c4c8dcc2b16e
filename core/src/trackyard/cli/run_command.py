"""`trackyard run`: how is a pipeline run from a shell?"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from trackyard.cli.completing import stack_names, tracker_names
from trackyard.cli.fields_command import FieldOption, FieldType
from trackyard.cli.output import is_terminal, json_option, remark, say, show_json
from trackyard.contract.errors import ConfigError, TrackyardError
from trackyard.pipelines.loading import load_pipeline
from trackyard.project.choosing import choose_project
from trackyard.project.configuration import find_project
from trackyard.project.fields import (
    Field,
    allows_none,
    parameters_of,
    parse_text,
    parse_texts,
)
from trackyard.project.stacks import active_stack, load_stacks
from trackyard.project.trackers import Trackers
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from trackyard.pipelines import Pipeline
    from trackyard.runs.pipeline_views import PipelineRun

_PIPELINE = "trackyard.pipeline"
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
            _parse(self.field, value)
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
    arguments = _arguments(ctx, given, pairs)
    if stack is not None:
        _choose_stack(stack)
    place, _, _ = reference.partition(":")
    sys.argv = [place]
    error: Exception | None = None
    with _stdout_on_stderr(as_json):
        runner = _runner(pipeline, arguments, experiment_trackers)
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


def _runner(pipeline: Pipeline, arguments: dict[str, Any], trackers: tuple[str, ...]) -> Any:
    from trackyard.pipelines.runner import PipelineRunner

    project = find_project()
    graph, params = pipeline.build(**arguments)
    if trackers:
        Trackers(project).select(trackers)
        for name, node in graph.nodes.items():
            step = node.step.with_options(experiment_tracker=list(trackers))
            graph.nodes[name] = attrs.evolve(node, step=step)
    return PipelineRunner(graph, params, project)


def _reference(args: list[str]) -> str | None:
    """Find FILE:PIPELINE before click has parsed the arguments."""
    takes_value = {"--stack", "-e", "--experiment-tracker", "-p", "--param"}
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
    return [_option(field) for field in fields if f"--{_dashed(field)}" not in taken]


def _option(field: Field) -> FieldOption:
    # A default must not be passed, not even None: click takes it for a given value.
    names = dict.fromkeys((f"--{_dashed(field)}", f"--{field.name}", f"field_{field.name}"))
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


def _arguments(ctx: click.Context, given: dict[str, Any], pairs: tuple[str, ...]) -> dict[str, Any]:
    """Give the pipeline's arguments; what is missing is wrong usage."""
    fields = {field.name: field for field in parameters_of(ctx.meta[_PIPELINE].function)}
    texts: dict[str, list[str]] = {}
    for name in fields:
        value = given.get(f"field_{name}")
        if value not in (None, ()):
            texts[name] = list(value) if isinstance(value, tuple) else [value]
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.replace("-", "_")
        hint = did_you_mean(name, fields) or f"; parameters are {listed(fields)}"
        if not equals:
            hint = f"; type: --param {name}=VALUE" if name in fields else hint
            raise click.UsageError(f"--param {pair}: must be NAME=VALUE{hint}", ctx)
        if name not in fields:
            raise click.UsageError(f"--param {pair}: no parameter {name!r}{hint}", ctx)
        texts.setdefault(name, []).append(text)
    missing = [name for name, field in fields.items() if field.is_required and name not in texts]
    if missing:
        options = " ".join(f"--{name.replace('_', '-')} VALUE" for name in missing)
        raise click.UsageError(f"missing: {options}; type: {ctx.command_path} --help", ctx)
    arguments = {}
    for name, parts in texts.items():
        try:
            arguments[name] = _parse_all(fields[name], parts)
        except ValueError as error:
            raise click.UsageError(f"--{name.replace('_', '-')}: {error}", ctx) from error
    return arguments


def _parse_all(field: Field, texts: list[str]) -> Any:
    return parse_texts(texts, field.annotation) if field.is_many else _parse(field, texts[-1])


def _parse(field: Field, text: str) -> Any:
    if allows_none(field.annotation) and text.lower() == "none":
        return None
    if inspect.isclass(field.annotation) and issubclass(field.annotation, Enum):
        members = {str(member.value): member for member in field.annotation}
        members |= field.annotation.__members__
        if text not in members:
            raise ValueError(f"must be one of {listed(members)}, not {text!r}")
        return members[text]
    value = parse_text(text, field.annotation)
    return Path(value) if field.annotation is Path else value


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
