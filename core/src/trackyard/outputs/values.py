"""How are plain values stored that JSON has no type for: tuples, sets, dates, numpy's numbers?

In JSON, where an object has one key, the name of a type, and beside it what makes the value again.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from trackyard.outputs.plain import is_scalar

_AS_THEY_ARE = (int, float, str, bool, type(None))
_Made = tuple[Callable[[Any], Any], Callable[[Any], Any]]


class ValuesMaterializer:
    """Collections of any keys, bytes, complex numbers, dates, decimals, paths, numpy's numbers."""

    name = "values"
    suffix = ".json"

    def can_save(self, value: Any) -> bool:
        """Tell whether it is of one of these very types; whether its parts are, `save` finds."""
        return type(value) is list or type(value) in _MADE or _is_number_of_numpy(value)

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write JSON in ASCII.

        Raises:
            TypeError: Some part would not come back equal and of its type.
        """
        file.write(json.dumps(encode(value)).encode("ascii"))

    def load(self, file: BinaryIO) -> Any:
        """Read JSON and make the values again."""
        return decode(json.loads(file.read()))


def encode(value: Any) -> Any:
    """Give what JSON can hold of a value.

    Raises:
        TypeError: It would not come back equal and of its type.
    """
    kind = type(value)
    if kind is float or is_scalar(value):
        return value
    if kind is list:
        return [item if type(item) is float else encode(item) for item in value]
    made = _MADE.get(kind)
    if made is None:
        return {"numpy": _of_numpy(value)}
    take, make = made
    content = take(value)
    if kind in _SIMPLE:
        again = make(content)
        if type(again) is not kind or repr(again) != repr(value):
            raise TypeError(f"{value!r} would come back as {again!r}")
    return {kind.__name__: content}


def decode(value: Any) -> Any:
    """Make a value again of what `encode` gave."""
    if type(value) is list:
        return [item if type(item) in _AS_THEY_ARE else decode(item) for item in value]
    if type(value) is not dict:
        return value
    ((name, content),) = value.items()
    return _to_numpy(content) if name == "numpy" else _MADE[_KINDS[name]][1](content)


def _in_order(items: Any) -> list[Any]:
    """Write a set in an order that is the same in each process."""
    return sorted((encode(item) for item in items), key=json.dumps)


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _aware(moment: datetime | time) -> list[Any]:
    if type(moment.tzinfo) not in (type(None), timezone):
        raise TypeError("of a time zone the name would be lost")
    return [moment.isoformat(), moment.fold]


_COLLECTIONS: dict[type, _Made] = {
    tuple: (lambda value: encode(list(value)), lambda content: tuple(decode(content))),
    set: (_in_order, lambda content: set(decode(content))),
    frozenset: (_in_order, lambda content: frozenset(decode(content))),
    dict: (
        lambda value: [[encode(key), encode(item)] for key, item in value.items()],
        lambda content: {decode(key): decode(item) for key, item in content},
    ),
}
_SIMPLE: dict[type, _Made] = {
    bytes: (_to_text, base64.b64decode),
    bytearray: (_to_text, lambda content: bytearray(base64.b64decode(content))),
    complex: (lambda value: [value.real, value.imag], lambda content: complex(*content)),
    Decimal: (str, Decimal),
    UUID: (str, UUID),
    date: (date.isoformat, date.fromisoformat),
    datetime: (
        _aware,
        lambda content: datetime.fromisoformat(content[0]).replace(fold=content[1]),
    ),
    time: (_aware, lambda content: time.fromisoformat(content[0]).replace(fold=content[1])),
    timedelta: (
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda content: timedelta(*content),
    ),
    type(Path()): (str, Path),
}
_MADE = {**_COLLECTIONS, **_SIMPLE}
_KINDS = {kind.__name__: kind for kind in _MADE}


def _is_number_of_numpy(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic) and not value.dtype.hasobject


def _of_numpy(value: Any) -> list[str]:
    if not _is_number_of_numpy(value):
        raise TypeError(f"{type(value).__name__} is of no known type")
    content = [value.dtype.str, _to_text(value.tobytes())]
    if type(_to_numpy(content)) is not type(value) or value.dtype.names is not None:
        raise TypeError(f"{value!r} would come back as another type")
    return content


def _to_numpy(content: list[str]) -> Any:
    import numpy

    return numpy.frombuffer(base64.b64decode(content[1]), numpy.dtype(content[0]))[0]
