"""What of any value does JSON hold: dicts, lists, texts, numbers, truth values and null?

Libraries such as numpy, pandas or pydantic are asked by the methods that their values have; none of
them is imported here.
"""

from __future__ import annotations

import itertools
import math
from collections import UserString
from collections.abc import (
    Callable,
    ItemsView,
    KeysView,
    Mapping,
    Sequence,
    Set as AbstractSet,
    ValuesView,
)
from typing import Any

from trackyard.system.coercing import str_of_integer, to_text
from trackyard.system.interruption import let_signals_through
from trackyard.system.warning_filters import despite_filters
from trackyard.tracking.arrays import OTHER, cells_of, dates_of, frame_columns, values_of

_DEEPEST = 200
_PLAIN = frozenset({str, int, float, bool, type(None)})
_HUGE = 2**10_000  # Python writes no longer integers as decimals
_MISSING = frozenset({"NaTType", "NAType", "MaskedConstant"})
_LONGEST_RANGE = 1_000_000
# The text of what is made in these modules, or of these classes, says all that it is.
_TEXT_MODULES = frozenset(
    {"datetime", "decimal", "enum", "fractions", "ipaddress", "pathlib", "uuid", "zoneinfo"}
)
_TEXT_CLASSES = frozenset({("numpy", "dtype"), ("torch", "dtype"), ("torch", "device")}) | {
    ("pandas", name) for name in ("Interval", "Period", "BaseOffset")
}
_TEXTS = (bytes, bytearray, complex, type, UserString)
_CONVERTED: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__index__,
    float: float.__float__,
}
# What stands for numbers that JSON has no name for.
ODD_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SAME_KEY = "keys whose text is {name!r} were kept apart; give them texts that differ"
SAME_COLUMN = "columns named {name!r} got numbers; give them names that differ"
_WORDS = {None: "null", True: "true", False: "false"}


class PlainValues:
    """Makes values plain, and notes what would not come back as it was.

    Args:
        for_json: Make texts of NaN and infinities, for which JSON has no name.

    Attributes:
        notes: What was changed, each thing once, with what to do about it.
        odd_numbers: How often each such text was made.
    """

    def __init__(self, *, for_json: bool = False) -> None:
        self.notes: list[str] = []
        self.odd_numbers = dict.fromkeys(ODD_NUMBERS, 0)
        self._for_json = for_json

    def note(self, text: str) -> None:
        """Note something once."""
        if text not in self.notes:
            self.notes.append(text)

    def plain(self, value: Any, above: tuple[int, ...] = ()) -> Any:
        """Give a value as JSON holds it.

        Args:
            value: Any value; it is not changed, and may be changed by another thread meanwhile.
            above: What it lies in, which it must not hold again.
        """
        kind = type(value)
        if kind in _PLAIN:
            is_odd = (kind is float and value - value != 0.0) or (kind is int and _is_huge(value))
            return self._odd(value) if is_odd else value
        if id(value) in above:
            self.note("what holds itself was cut there")
            return "<cycle>"
        if len(above) > _DEEPEST:
            self.note(f"what lies deeper than {_DEEPEST} levels was cut; log it as a text")
            return "<too deep>"
        above = (*above, id(value))
        if kind is dict:
            return self._pairs(value, above)
        return self._items(value, above) if kind is list else self.plain(self._opened(value), above)

    def fields(self, value: Any) -> dict[Any, Any] | None:
        """Give the keys and values of a mapping or of an object with fields, or None."""
        try:
            found = despite_filters(self._mapping, value)
        except Exception as error:
            let_signals_through(error)
            return None
        return found if type(found) is dict else None

    def _items(self, items: list[Any], above: tuple[int, ...]) -> list[Any]:
        items = list(items)
        kinds = set(map(type, items))
        if kinds == {float}:
            total = sum(items)
            if total - total == 0.0:
                return items
        elif kinds == {str} or (kinds == {int} and not any(map(_is_huge, items))):
            return items
        return [item if type(item) is str else self.plain(item, above) for item in items]

    def _pairs(self, pairs: dict[Any, Any], above: tuple[int, ...]) -> dict[str, Any]:
        items = list(pairs.items())
        plain = {
            key if type(key) is str else _key(key): value
            if type(value) is str or (type(value) is float and value - value == 0.0)
            else self.plain(value, above)
            for key, value in items
        }
        return plain if len(plain) == len(items) else self._apart(items, above)

    def _odd(self, number: float) -> float | str:
        if type(number) is int:
            return str_of_integer(number)
        if not self._for_json:
            return number
        name = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
        self.odd_numbers[name] += 1
        return name

    def _apart(self, items: list[tuple[Any, Any]], above: tuple[int, ...]) -> dict[str, Any]:
        """Keep keys apart whose texts are the same, such as 1 and "1"."""
        names = self.apart([_key(key) for key, _ in items], _SAME_KEY)
        return {
            name: self.plain(value, above) for name, (_, value) in zip(names, items, strict=True)
        }

    def apart(self, names: list[str], note: str) -> list[str]:
        """Give names of which each stands once: those that come again get numbers.

        Args:
            names: The names.
            note: What is noted of a name that comes again, as a format of `name`.
        """
        found: dict[str, None] = {}
        taken = set(names)
        for given in names:
            name = given
            if name in found:
                self.note(note.format(name=name))
                others = (f"{name} ({number})" for number in itertools.count(2))
                name = next(other for other in others if other not in taken)
                taken.add(name)
            found[name] = None
        return list(found)

    def _opened(self, value: Any) -> Any:
        """Give what is nearer to plain: a plain value, a dict, a list, or an object's text."""
        for ask in (_scalar, _scalar_of_array, self._array, self._mapping, _sequence):
            try:
                found = despite_filters(ask, value)
            except Exception as error:  # objects may raise whatever they are asked
                let_signals_through(error)
                continue
            if found is not OTHER:
                return found
        self.note(f"a {type(value).__name__} was kept as its text; log the values that it holds")
        return text_of(value)

    def _array(self, value: Any) -> Any:
        kind = type(value)
        if hasattr(kind, "columns") or hasattr(kind, "column_names"):
            columns = frame_columns(value)
            if columns is None:
                return OTHER
            names = self.apart([_key(name) for name, _ in columns], SAME_COLUMN)
            return dict(zip(names, (cells for _, cells in columns), strict=True))
        index: Any = value.index if hasattr(kind, "iloc") else None
        if type(index).__name__ in ("NoneType", "RangeIndex"):
            return values_of(value)
        if index.is_unique:
            return dict(zip(index.tolist(), cells_of(value), strict=True))
        self.note("an index that has a label twice was left out; log a table, with it as a column")
        return cells_of(value)

    def _mapping(self, value: Any) -> Any:
        kind = type(value)
        if getattr(kind, "__pydantic_root_model__", False):
            return value.root
        names = _fields_of(value)
        if names is not None:
            return {name: getattr(value, name) for name in names}
        if kind.__module__.startswith("omegaconf."):
            return self._configuration(value)
        if isinstance(value, Mapping) or hasattr(kind, "keys"):
            return dict(value)
        is_namespace = kind.__module__ in ("argparse", "types") and hasattr(value, "__dict__")
        return dict(vars(value)) if is_namespace else OTHER

    def _configuration(self, value: Any) -> Any:
        """Give what a configuration of OmegaConf says, resolved, but for what it lacks."""
        from omegaconf import OmegaConf

        is_list = OmegaConf.is_list(value)
        found: dict[Any, Any] = {}
        for key in range(len(value)) if is_list else list(value):
            if OmegaConf.is_missing(value, key):
                self.note(f"{_path(value, key)!r} is '???' and was left out; give it a value")
                continue
            try:
                found[key] = value[key]
            except Exception as error:
                let_signals_through(error)
                reason = to_text(error).partition("\n")[0]
                self.note(f"{_path(value, key)!r} was kept unresolved; {reason}")
                unresolved: Any = OmegaConf.to_container(value, resolve=False)
                found[key] = unresolved[key]
        return list(found.values()) if is_list else found


def text_of(value: Any) -> str:
    """Give a value's text: ISO 8601 of dates and times, UTF-8 of bytes, else what `str` gives."""
    try:
        if issubclass(type(value), bytes | bytearray):
            return bytes(value).decode()
        if type(value).__module__ != "builtins" and hasattr(type(value), "isoformat"):
            return str(value.isoformat())
    except Exception as error:
        let_signals_through(error)
        return to_text(value)
    return to_text(value)


def _scalar(value: Any) -> Any:
    kind = type(value)
    if kind.__name__ in _MISSING:
        return None
    for plain, convert in _CONVERTED.items():
        if issubclass(kind, plain):
            return convert(value)
    classes = {(base.__module__.partition(".")[0], base.__name__) for base in kind.__mro__}
    is_text = (
        issubclass(kind, _TEXTS)
        or hasattr(kind, "__code__")
        or not _TEXT_MODULES.isdisjoint(module for module, _ in classes)
        or classes & _TEXT_CLASSES
    )
    return text_of(value) if is_text else OTHER


def _scalar_of_array(value: Any) -> Any:
    kind = type(value)
    if not hasattr(kind, "item") or getattr(value, "shape", None) != ():
        return OTHER
    if getattr(value.dtype, "kind", "") in ("m", "M"):
        return dates_of(to_text(value))
    names = getattr(value.dtype, "names", None)
    if names:  # a row of a structured array
        return {name: value[name] for name in names}
    item = value.item()
    if type(item) is kind:  # a number of numpy's that is wider than Python's
        return float(value) if float(value) == value else to_text(value)
    return item


def _sequence(value: Any) -> Any:
    if isinstance(value, AbstractSet):
        items = list(value)
        try:
            return sorted(items)
        except TypeError:
            return sorted(items, key=to_text)
    if type(value) is range and len(value) > _LONGEST_RANGE:
        return OTHER
    return [*value] if isinstance(value, Sequence | KeysView | ValuesView | ItemsView) else OTHER


def _fields_of(value: Any) -> list[str] | None:
    """Give the names of the fields that an object's class declares, or None."""
    kind = type(value)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return list(kind._fields)
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields

        return [field.name for field in fields(value)]
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__]
    if hasattr(kind, "__struct_fields__"):
        return list(kind.__struct_fields__)
    if hasattr(kind, "model_fields"):  # pydantic
        return [*kind.model_fields, *(value.model_extra or ())]
    return list(kind.__fields__) if hasattr(kind, "__fields__") else None


def _key(key: Any) -> str:
    """Give a key's text, as JSON has it for null and truth values."""
    if type(key) is str:
        return key
    return _WORDS[key] if key is None or type(key) is bool else text_of(key)


def _is_huge(value: Any) -> bool:
    return type(value) is int and not -_HUGE < value < _HUGE


def _path(configuration: Any, key: Any) -> str:
    try:
        return str(configuration._get_full_key(key))  # noqa: SLF001 - nothing else gives it
    except Exception as error:
        let_signals_through(error)
        return to_text(key)
