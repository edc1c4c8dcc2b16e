"""Which options do several commands share?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click


def pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Check that each value of an option is `KEY=VALUE`."""
    for value in values:
        key, equals, _text = value.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"must be KEY=VALUE, not {value!r}")
    return values


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
