"""Are the names, the attempt and the tags that a user gives to a run what they should be?"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from trackyard.contract.errors import ConfigError
from trackyard.contract.records import encodable
from trackyard.redaction.redactor import Redactor
from trackyard.system.coercing import to_text

# What a column of the store holds.
LAST_ATTEMPT = 2**31 - 1


def to_name(value: Any, argument: str, example: str) -> str:
    """Give a name as every database and backend can hold it.

    Args:
        value: What the user gave.
        argument: The argument's name, for the message.
        example: A name that would do, likewise.

    Raises:
        ConfigError: It is no text, or an empty one.
    """
    if not isinstance(value, str) or not value:
        raise ConfigError(
            f"{argument}: must be a text that is not empty, not {_shown(value)}; "
            f'type: {argument}="{example}"'
        )
    return encodable(str.__str__(value))


def to_run_name(value: Any) -> str | None:
    """Give what a runner calls its run, which may be a number, a UUID or a date; None for none.

    Raises:
        ConfigError: It is nothing of the kind, or an empty text.
    """
    if value is None:
        return None
    is_plain = isinstance(value, int | UUID | date) and not isinstance(value, bool)
    return to_name(to_text(value) if is_plain else value, "run", "2026-11-25")


def to_attempt(value: Any) -> int | None:
    """Give the number of an attempt, which may be a text of digits; None where none is given.

    Raises:
        ConfigError: It is no whole number from 1.
    """
    if value is None:
        return None
    number = 0
    if isinstance(value, str):
        digits = value.strip()
        number = int(digits) if digits.isdecimal() and len(digits) < 20 else 0
    elif not isinstance(value, bool):
        try:
            number = operator.index(value)
        except TypeError:
            number = 0
    if not 1 <= number <= LAST_ATTEMPT:
        raise ConfigError(
            f"attempt: must be a whole number from 1, not {_shown(value)}; "
            "type: attempt=2 for a first retry"
        )
    return number


def to_tags(tags: Any, redactor: Redactor) -> dict[str, str]:
    """Give the tags of a run as texts without secrets.

    Args:
        tags: What the user gave; None for no tags.
        redactor: Keeps secrets out of them.

    Raises:
        ConfigError: They are no dict.
    """
    if tags is None:
        return {}
    if not isinstance(tags, Mapping):
        raise ConfigError(
            f'tags: must be a dict, not {_shown(tags)}; type: tags={{"stage": "test"}}'
        )
    texts = [(to_text(key), to_text(value)) for key, value in tags.items()]
    return {key: str(value) for key, value in (redactor.redact_pair(*text) for text in texts)}


def _shown(value: Any) -> str:
    """Show a value, but nothing that is long or may hold a secret."""
    if value is None or isinstance(value, bool | int | float):
        return to_text(value)[:100]
    if isinstance(value, str) and len(value) < 40:
        return repr(str.__str__(value))
    return f"a {type(value).__name__}"
