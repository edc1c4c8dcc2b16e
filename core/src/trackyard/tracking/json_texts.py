"""How is a value written as JSON that every reader reads, and how is it read as it was?

JSON has no name for NaN and infinities: they are written as the texts "NaN", "Infinity" and
"-Infinity", which `float` and JavaScript's `Number` read.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from trackyard.tracking.plain_values import PlainValues

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# Texts are matched too, so that nothing in them is.
_TEXT_OR_NUMBER = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|NaN|-?Infinity')
# A longer file is for programs to read.
_LONGEST_INDENTED = 1024 * 1024


def json_text(value: Any, values: PlainValues) -> str:
    """Write a plain value as JSON.

    Args:
        value: What `PlainValues.plain` gives.
        values: Gets a note of what reads back as something else.
    """
    text = json.dumps(value, ensure_ascii=False, check_circular=False)
    if "NaN" not in text and "Infinity" not in text:
        return text

    def written(match: re.Match[str]) -> str:
        found = match[0]
        if found[0] != '"':
            return f'"{found}"'
        if found[1:-1] in _NUMBERS and match.string[match.end() : match.end() + 1] != ":":
            values.note(f"the text {found} reads back as a number; give it another text")
        return found

    return _TEXT_OR_NUMBER.sub(written, text)


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
        return _NUMBERS.get(value, value)
    if isinstance(value, list):
        return [_numbers_of(item) for item in value]
    if isinstance(value, dict):
        return {key: _numbers_of(item) for key, item in value.items()}
    return value
