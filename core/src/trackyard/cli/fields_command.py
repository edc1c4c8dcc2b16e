"""How does a command take the fields of a flavor as options, and show them in its help?"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import click

from trackyard.contract.errors import TrackyardError
from trackyard.contract.flavors import SCHEMES
from trackyard.project.configuration import find_project
from trackyard.project.fields import Field, fields_of, parse_text, parse_texts
from trackyard.project.stacks import TrackerOptions

_PREFIX = "field_"
_META = "trackyard.fields"


class FieldsCommand(click.Command):
    """A command with an option for each field of a flavor, which its arguments name.

    Args:
        find_flavor: Finds the flavor class in the arguments; None where they name none.
        are_needed: Fields without a default must be given.
        options: The class of what core takes beside them, if it takes anything.
    """

    def __init__(
        self,
        *args: Any,
        find_flavor: Callable[[list[str]], type | None],
        are_needed: bool = False,
        options: type | None = TrackerOptions,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._find_flavor = find_flavor
        self._are_needed = are_needed
        self._options = options

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the flavor before anything else, so that its fields are options."""
        try:
            flavor = self._find_flavor(args)
        except TrackyardError as error:
            if not ctx.resilient_parsing:  # a shell that completes a line shows no errors
                raise click.UsageError(str(error), ctx) from error
            flavor = None
        options = fields_of(self._options) if self._options else ()
        core = [f for f in options if f.name not in ("flavor", "labels")]
        own = list(fields_of(flavor)) if flavor else []
        ctx.meta[_META] = [
            *(_option(field, own_title(flavor), self._are_needed) for field in own),
            *(_option(field, "Options of every tracker", False) for field in core),
        ]
        ctx.meta["trackyard.arguments"] = given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            wrong = error.option_name
            if flavor is None:
                raise
            # The fields stand in the help of a line that names the flavor.
            before = shlex.join(takewhile(lambda text: not text.startswith(wrong), given))
            message = f"No such option {wrong!r}. Type: {ctx.command_path} {before} --help"
            raise click.NoSuchOption(wrong, message, error.possibilities, ctx) from error

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Give the command's own parameters and the fields."""
        *params, help_option = super().get_params(ctx)
        return [*params, *ctx.meta.get(_META, ()), help_option]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the fields below titles of their own."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                title = param.title if isinstance(param, FieldOption) else "Options"
                groups.setdefault(title, []).append(record)
        for title in sorted(groups, key=lambda title: title != "Options"):
            with formatter.section(title):
                formatter.write_dl(groups[title])


class FieldOption(click.Option):
    """An option for one field.

    Args:
        title: What it stands below in the help.
    """

    def __init__(self, *args: Any, title: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = title

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Show the first spelling; the one with underscores works as well."""
        record = super().get_help_record(ctx)
        return record and (record[0].replace(f", {self.opts[-1]}", ""), record[1])


class FieldType(click.ParamType[Any]):
    """What a field takes."""

    def __init__(self, field: Field) -> None:
        self.name = field.type
        self.field = field

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> Any:
        """Check a text; a literal secret is refused, and not shown again."""
        if self.field.is_secret and not _is_reference(value):
            self.fail(_secret_refused(self.field, value, ctx), param, ctx)
        try:
            parse_text(value, self.field.annotation)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


def own_title(flavor: type | None) -> str:
    """Give the title of a flavor's own fields in the help."""
    return f"Fields of {flavor.__name__}" if flavor else ""


def given_fields(ctx: click.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields that the command line set, as the configuration has them.

    Args:
        ctx: The command's context, which knows the fields.
        values: What click has parsed, by option.
    """
    fields = {}
    for option in ctx.meta[_META]:
        text = values.get(option.name)
        if text not in (None, ()):
            field: Field = option.type.field
            texts: Sequence[str] = text if isinstance(text, tuple) else [text]
            fields[field.name] = parse_texts(texts, field.annotation)
    return fields


def configured_value(section: str, names: Sequence[str], key: str) -> str | None:
    """Find what the first configured thing among names says, also where the rest is wrong.

    Args:
        section: The table of the configuration, such as `stacks`.
        names: The names, in the order in which they are looked for.
        key: The key whose text is wanted.
    """
    tables = find_project().table.get(section)
    found = tables if isinstance(tables, Mapping) else {}
    table = next((found[name] for name in names if name in found), None)
    value = table.get(key) if isinstance(table, Mapping) else None
    return value if isinstance(value, str) else None


def option_value(args: Sequence[str], *names: str) -> str | None:
    """Find an option's value before click has parsed the arguments.

    Args:
        args: The arguments, as they were typed.
        *names: The option's names, such as `--flavor` and `-f`.
    """
    for index, argument in enumerate(args):
        for name in names:
            if argument == name and index + 1 < len(args):
                return args[index + 1]
            if argument.startswith(f"{name}=") and name.startswith("--"):
                return argument.partition("=")[2]
            if not name.startswith("--") and argument.startswith(name) and argument != name:
                return argument.removeprefix(name).removeprefix("=")
    return None


def _option(field: Field, title: str, is_needed: bool) -> FieldOption:
    # A default must not be passed, not even None: click takes it for a given value.
    dashed = f"--{field.name.replace('_', '-')}"
    names = dict.fromkeys((dashed, f"--{field.name}", _PREFIX + field.name))
    notes = [f"default: {field.default}"] if field.default else []
    notes += ["several"] if field.is_many else []
    notes += ["required"] if is_needed and field.is_required else []
    note = f"  [{'; '.join(notes)}]" if notes else ""
    return FieldOption(
        list(names),
        title=title,
        type=FieldType(field),
        multiple=field.is_many,
        required=is_needed and field.is_required,
        help=f"{field.help}{note}".strip(),
        metavar=_metavar(field),
    )


def _metavar(field: Field) -> str:
    if field.is_secret:
        return "env:NAME|file:PATH|keyring:SERVICE/USER"
    if " or " in field.type:
        return "|".join(field.type.split(" or "))
    return {"whole number": "INTEGER", "table": "KEY=VALUE"}.get(field.type, field.type.upper())


def _is_reference(text: str) -> bool:
    return text.startswith(SCHEMES) and bool(text.partition(":")[2])


def _secret_refused(field: Field, value: str, ctx: click.Context | None) -> str:
    """Say what to type: the same command, with a reference in place of the secret."""
    path = ctx.command_path if ctx else ""
    arguments: list[str] = ctx.meta.get("trackyard.arguments", []) if ctx else []
    reference = f"env:{field.name.upper()}"
    replaced = [
        argument if not value else argument.replace(value, reference) for argument in arguments
    ]
    return (
        f"it is a secret, and secrets do not go into configuration files; put it into the "
        f"environment variable {field.name.upper()} and type:\n  {path} {shlex.join(replaced)}\n"
        f"or refer to it as file:PATH or keyring:SERVICE/USER"
    )
