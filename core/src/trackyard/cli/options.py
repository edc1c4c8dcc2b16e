"""Which options do several commands share?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from trackyard.system.durations import UNITS, seconds_in

_Command = TypeVar("_Command", bound=Callable[..., Any])


def pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Check that each value of an option is `KEY=VALUE`."""
    for value in values:
        key, equals, _text = value.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"must be KEY=VALUE, not {value!r}")
    return values


def new_name(_: click.Context, __: click.Parameter, value: str) -> str:
    """Check a name that something is to get."""
    from trackyard.registry.registering import NAME_RULE, is_name

    if not is_name(value):
        raise click.BadParameter(f"{value!r}: {NAME_RULE}, such as {_example(value)}")
    return value


def _example(wrong: str) -> str:
    return re.sub(r"[^\w.-]+", "-", wrong).strip("-") or "local"


label_option = click.option(
    "-l", "--label", multiple=True, callback=pairs, metavar="KEY=VALUE", help="A label; several."
)
labels_option = click.option(
    "-l",
    "--label",
    multiple=True,
    callback=pairs,
    metavar="KEY=VALUE",
    help="Only what has this label; several.",
)


def as_mapping(pairs: Iterable[str]) -> dict[str, Any]:
    """Give `KEY=VALUE` texts as a mapping."""
    return {key.strip(): value for key, _, value in (pair.partition("=") for pair in pairs)}


class Duration(click.ParamType[float]):
    """A time such as 90s, 12h, 30d or 4w; seconds where there is no unit."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Give seconds."""
        seconds = seconds_in(str(value))
        if seconds is None:
            self.fail(f"{value!r} is no time such as 12h, 30d or 4w", param, ctx)
        return seconds


class Moment(click.ParamType[datetime]):
    """A date, a date and time, or how long ago; local time where no zone is given."""

    name = "moment"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Give the moment with its zone."""
        text = str(value).strip()
        seconds = seconds_in(text) if text[-1:] in UNITS else None
        try:
            if seconds is not None:
                return datetime.now().astimezone() - timedelta(seconds=seconds)
            moment = datetime.fromisoformat(text).astimezone()
            if not 1700 < moment.year < 2262:  # what 64 bits of nanoseconds hold
                raise OverflowError
            return moment
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no date such as 2026-01-31, and no time such as 7d", param, ctx
            )


def moment_option(name: str, help: str) -> Callable[[_Command], _Command]:
    """Make an option that takes a moment.

    Args:
        name: The option's name, with its dashes.
        help: What the help says of it.
    """
    return click.option(name, type=Moment(), metavar="TIME", help=help)
