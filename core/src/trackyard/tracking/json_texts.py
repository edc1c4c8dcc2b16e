"""How is a value written as JSON that every reader reads, and how is it read as it was?

JSON has no name for NaN and infinities: they are written as the texts "NaN", "Infinity" and
"-Infinity", which `float` and JavaScript's `Number` read.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from trackyard.tracking.plain_values import ODD_NUMBERS, PlainValues

# A longer file is for programs to read.
_LONGEST_INDENTED = 1024 * 1024


def json_text(value: Any, values: PlainValues) -> str:
    """Write a plain value as JSON.

    Args:
        value: What `PlainValues.plain` gives, for JSON.
        values: What has given it; gets a note of what reads back as something else.
    """
    text = json.dumps(value, ensure_ascii=False, check_circular=False)
    for name, count in values.odd_numbers.items():
        # In a longer text a quote has a backslash before it; behind a key stands a colon.
        if text.count(f'"{name}"') - text.count(f'"{name}":') > count:
            values.note(f'the text "{name}" reads back as a number; give it another text')
    return text


def encoded(text: str) -> bytes:
    """Give the bytes of a JSON text, indented where people may read it."""
    try:
        data = text.encode()
    except UnicodeEncodeError:  # lone surrogates: JSON's escapes look like Python's
        return text.encode("utf-8", "backslashreplace")
    return data if len(data) > _LONGEST_INDENTED else msgspec.json.format(data, indent=2)


def value_in(text: str | bytes) -> Any:
    """Read a value that was written so; NaN and infinities are numbers again."""
    return _numbers_of(json.loads(text))


def _numbers_of(value: Any) -> Any:
    if isinstance(value, str):
        return ODD_NUMBERS.get(value, value)
    if isinstance(value, list):
        return [_numbers_of(item) for item in value]
    if isinstance(value, dict):
        return {key: _numbers_of(item) for key, item in value.items()}
    return value
