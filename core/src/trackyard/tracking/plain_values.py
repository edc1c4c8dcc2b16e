"""What of any value does JSON hold: dicts, lists, texts, numbers, truth values and null?

Libraries such as numpy, pandas or pydantic are asked by the methods that their values have; none of
them is imported here.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, time
from enum import Enum
from typing import Any

from trackyard.system.coercing import str_of_integer, to_text

_DEEPEST = 200
_PLAIN = frozenset({str, int, float, bool, type(None)})
_LONGEST_INTEGER = 10_000  # bits; Python writes no longer ones as decimals
_MISSING = ("NaTType", "NAType")


class PlainValues:
    """Makes values plain, and notes what would not come back as it was.

    Attributes:
        notes: What was changed, each thing once, with what to do about it.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Note something once."""
        if text not in self.notes:
            self.notes.append(text)

    def plain(self, value: Any, above: tuple[int, ...] = ()) -> Any:
        """Give a value as JSON holds it; the same object where it is plain already.

        Args:
            value: Any value; it is not changed, and may be changed by another thread meanwhile.
            above: What it lies in, which it must not hold again.
        """
        kind = type(value)
        if kind in _PLAIN:
            return _short(value) if kind is int else value
        if kind is not dict and kind is not list:
            inner = self._opened(value)
            if inner is value or type(inner) in _PLAIN:
                return inner
            if type(inner) is not dict and type(inner) is not list:
                return self.plain(inner, (*above, id(value))[-_DEEPEST:])
        else:
            inner = value
        if id(value) in above:
            self.note("what holds itself was cut there")
            return "<cycle>"
        if len(above) >= _DEEPEST:
            self.note(f"what lies deeper than {_DEEPEST} levels was cut; log it as a file")
            return "<too deep>"
        above = (*above, id(value))
        return self._items(inner, above) if type(inner) is list else self._pairs(inner, above)

    def _items(self, items: list[Any], above: tuple[int, ...]) -> list[Any]:
        kinds = set(map(type, items))
        if kinds <= _PLAIN and int not in kinds:
            return items
        return [item if type(item) is str else self.plain(item, above) for item in list(items)]

    def _pairs(self, pairs: dict[Any, Any], above: tuple[int, ...]) -> dict[str, Any]:
        items = list(pairs.items())
        names = [key if type(key) is str else self._key(key) for key, _ in items]
        plain = {
            name: value if type(value) is str else self.plain(value, above)
            for name, (_, value) in zip(names, items, strict=True)
        }
        if len(plain) < len(items):
            plain = self._apart(names, items, above)
        return plain

    def _key(self, key: Any) -> str:
        """Give a key's text, as JSON has it for null and truth values."""
        if key is None or type(key) is bool:
            return {None: "null", True: "true", False: "false"}[key]
        return text_of(key)

    def _apart(
        self, names: list[str], items: list[tuple[Any, Any]], above: tuple[int, ...]
    ) -> dict[str, Any]:
        """Keep keys apart whose texts are the same, such as 1 and "1"."""
        plain: dict[str, Any] = {}
        taken = {*names}
        for name, (key, value) in zip(names, items, strict=True):
            own = name
            if own in plain:
                others = (f"{name} ({type(key).__name__} {n})" for n in itertools.count(2))
                own = next(other for other in others if other not in taken)
                taken.add(own)
                self.note(f"keys with the text {name!r} were kept apart; make them different texts")
            plain[own] = self.plain(value, above)
        return plain

    def _opened(self, value: Any) -> Any:
        """Give what is nearer to plain: a plain value, a dict or list, or the text of an object."""
        for ask in (_scalar, _mapping, _array, _sequence):
            try:
                found = ask(value)
            except Exception:  # noqa: S112 - objects may raise whatever they are asked
                continue
            if found is not _OTHER:
                return found
        if getattr(type(value), "_is_frame", None) is None and _is_frame(value):
            from trackyard.tracking.tables import columns_of

            return dict(zip(*columns_of(value, self), strict=True))
        if not isinstance(value, bytes | bytearray | memoryview | complex):
            self.note(f"a {type(value).__name__} was kept as its text; log what it consists of")
        return text_of(value)


_OTHER = object()
