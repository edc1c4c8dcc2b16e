"""Which arguments does `trackyard run` call a pipeline with?

The command line says most, then the files of `--config`, then the run that is resumed.
"""

from __future__ import annotations

import inspect
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trackyard.cli.run_files import RunFile
from trackyard.pipelines.resuming import Resumed
from trackyard.project.fields import Field, allows_none, parameters_of, parse_text, parse_texts
from trackyard.system.coercing import to_param
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from trackyard.pipelines import Pipeline


def fields_of(pipeline: Pipeline) -> tuple[Field, ...]:
    """Give a pipeline's parameters."""
    return parameters_of(pipeline.function)


def dashed(field: Field) -> str:
    """Give a parameter's name as an option has it, without the dashes before."""
    return field.name.replace("_", "-")


def typed(
    ctx: click.Context, pipeline: Pipeline, given: dict[str, Any], pairs: tuple[str, ...]
) -> dict[str, Any]:
    """Give the arguments that the command line says.

    Args:
        ctx: The command's.
        pipeline: The pipeline.
        given: The options of its parameters.
        pairs: What `--param` says.

    Raises:
        click.UsageError: One is unknown, or of another type.
    """
    fields = {field.name: field for field in fields_of(pipeline)}
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
    arguments = {}
    for name, parts in texts.items():
        try:
            arguments[name] = _parse_all(fields[name], parts)
        except ValueError as error:
            raise click.UsageError(f"--{dashed(fields[name])}: {error}", ctx) from error
    return arguments


def arguments_of(
    ctx: click.Context,
    pipeline: Pipeline,
    typed: dict[str, Any],
    file: RunFile,
    resumed: Resumed | None,
) -> dict[str, Any]:
    """Give the pipeline's arguments; what is missing is wrong usage.

    Args:
        ctx: The command's.
        pipeline: The pipeline.
        typed: What the command line says.
        file: What files say.
        resumed: The run that is resumed, or None.

    Raises:
        click.UsageError: One is missing, of another type, or another one than was used before.
    """
    fields = {field.name: field for field in fields_of(pipeline)}
    arguments = {**_of_file(ctx, fields, file), **typed}
    if resumed is not None:
        arguments = _of_resumed(ctx, pipeline, arguments, resumed)
    missing = [field for field in fields.values() if field.is_required]
    options = " ".join(f"--{dashed(f)} VALUE" for f in missing if f.name not in arguments)
    if options:
        raise click.UsageError(f"missing: {options}; type: {ctx.command_path} --help", ctx)
    return arguments


def _of_file(ctx: click.Context, fields: dict[str, Field], file: RunFile) -> dict[str, Any]:
    """Give what files say of parameters; a text is read as if it had been typed."""
    arguments = {}
    for key, value in file.params.items():
        field = fields[key.replace("-", "_")]
        try:
            if isinstance(value, list) and field.is_many:
                arguments[field.name] = _parse_all(field, [_in_words(item) for item in value])
            elif isinstance(value, str):
                arguments[field.name] = _parse_all(field, [value])
            else:
                arguments[field.name] = value
        except ValueError as error:
            raise click.UsageError(f"--config: params.{key}: {error}", ctx) from error
    return arguments


def _in_words(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _of_resumed(
    ctx: click.Context, pipeline: Pipeline, arguments: dict[str, Any], resumed: Resumed
) -> dict[str, Any]:
    """Add the params of the run that is resumed: what finished there has used them."""
    run, signature = resumed.run, inspect.signature(pipeline.function)
    for field in fields_of(pipeline):
        if field.name not in run.params:
            continue  # it is new
        stored, option = run.params[field.name], f"--{dashed(field)}"
        if field.name in arguments:
            if to_param(arguments[field.name]) != stored:
                raise click.UsageError(
                    f"{option}: run {run.name!r} was made with {stored!r}, which the steps that "
                    "finished have used; leave it out, or leave out --resume",
                    ctx,
                )
        elif to_param(signature.parameters[field.name].default) != stored:
            try:
                is_text = isinstance(stored, str)
                arguments[field.name] = _parse_all(field, [stored]) if is_text else stored
            except ValueError:
                raise click.UsageError(
                    f"{option}: {stored!r} of run {run.name!r} cannot be read back; "
                    f"type: {option} VALUE",
                    ctx,
                ) from None
    return arguments


def _parse_all(field: Field, texts: list[str]) -> Any:
    return parse_texts(texts, field.annotation) if field.is_many else parse(field, texts[-1])


def parse(field: Field, text: str) -> Any:
    """Give what a text means as an argument.

    Args:
        field: The parameter.
        text: What was typed.

    Raises:
        ValueError: It is of another type.
    """
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
