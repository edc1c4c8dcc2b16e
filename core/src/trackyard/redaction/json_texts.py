"""How are secrets kept out of a long JSON text, without looking at each of its values?

Most texts hold no word that tells of a secret, or few. Around each such word the string that it
stands in is found, and where that is the name of a secret, the value behind it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

_decoder = json.JSONDecoder(strict=False)
_SPACE = " \n"


def redacted_json(
    text: str,
    places: Iterable[int],
    redact: Callable[[str], str],
    is_secret_name: Callable[[str], bool],
    hide: Callable[[Any], Any],
) -> str:
    """Give a JSON text without secrets.

    Args:
        text: What `json.dumps` has written, with `ensure_ascii=False`.
        places: Where words stand that tell of a secret, in order; each lies in a string.
        redact: Gives a text without secrets.
        is_secret_name: Tells whether what bears a name is a secret.
        hide: Gives a value without any text.
    """
    known: dict[str, tuple[str, bool, bool]] = {}
    parts, end = [], 0
    for place in places:
        if place < end:
            continue
        start, stop = _string_around(text, place, end)
        raw = text[start:stop]
        if raw not in known:
            value = json.loads(raw, strict=False)
            known[raw] = _encoded(redact(value)), is_secret_name(value), value[:2] == "--"
        new, is_secret, is_option = known[raw]
        parts += [text[end:start], new]
        end = stop
        if is_secret and (
            text[stop : stop + 1] == ":" or (is_option and _has_next(text, start, stop))
        ):
            begin = _behind(text, stop + 1)
            hidden, end = _decoder.raw_decode(text, begin)
            parts += [text[stop:begin], _encoded(hide(hidden))]
    return "".join([*parts, text[end:]]) if parts else text


def _encoded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _string_around(text: str, place: int, floor: int) -> tuple[int, int]:
    """Give where the string begins and ends that holds a place; its quotes count."""
    start, stop = text.rindex('"', floor, place), text.index('"', place)
    while _is_escaped(text, start):
        start = text.rindex('"', floor, start)
    while _is_escaped(text, stop):
        stop = text.index('"', stop + 1)
    return start, stop + 1


def _is_escaped(text: str, quote: int) -> bool:
    first = quote
    while first > 0 and text[first - 1] == "\\":
        first -= 1
    return (quote - first) % 2 == 1


def _has_next(text: str, start: int, stop: int) -> bool:
    """Tell whether a string is an item of a list and another one follows."""
    before = start - 1
    while before >= 0 and text[before] in _SPACE:
        before -= 1
    return before >= 0 and text[before] in "[," and text[stop : stop + 1] == ","


def _behind(text: str, place: int) -> int:
    """Give the next place that is no space."""
    while text[place] in _SPACE:
        place += 1
    return place
