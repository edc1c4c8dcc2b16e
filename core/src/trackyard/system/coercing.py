"""What is kept of the odd values that people log?

All functions here are total: whatever they get, they return, since a log call must never raise
into a step. Only what a signal's handler raises comes through. None imports numpy or torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trackyard.system.interruption import let_signals_through
from trackyard.system.warning_filters import despite_filters

if TYPE_CHECKING:
    from trackyard.contract.records import ParamValue

_LARGEST_INTEGER = 2**63 - 1


def to_number(value: Any) -> float | None:
    """Give a metric's value as a float, or None where it is no number.

    Scalars and one-element arrays of numpy, torch and jax count as numbers, also such that need
    a gradient or live on a device. Integers too large for a float become infinities.
    """
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is int or kind is bool:
        return _integer_to_float(value)
    if issubclass(kind, str | bytes | bytearray):  # isinstance asks the value, which may raise
        return None
    # Those of numpy: the `item()` of what is masked is 0.0, `float` takes the real part alone.
    if kind.__name__ == "MaskedConstant" or kind.__name__.startswith("complex"):
        return None
    for convert in (_float, _item):
        number = convert(value)
        if number is not None:
            return number
    return None


def to_step(value: Any) -> int | float | None:
    """Give a training step as an int where it is whole, else as a float; None for anything odd."""
    if type(value) is int:
        return value if -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER else _clamped(value)
    if value is None:
        return None
    number = to_number(value)
    if number is None or not math.isfinite(number):
        return None
    if number == int(number):
        return _clamped(int(number))
    return number


def to_text(value: Any) -> str:
    """Give any object as text; `<unrepresentable NAME>` where its own methods raise."""
    if type(value) is str:
        return value
    if type(value) is int:
        return str_of_integer(value)
    for convert in (str, repr):
        try:
            text = despite_filters(convert, value)
            if isinstance(text, str):
                return str.__str__(text)
        except Exception as error:  # the next way is tried, and the last line always works
            let_signals_through(error)
    return f"<unrepresentable {type(value).__name__}>"


def to_param(value: Any) -> ParamValue:
    """Give a param's value: text, number, truth value and None as they are, all else as text."""
    if value is None or type(value) in (str, bool, float):
        return value  # type: ignore[no-any-return]
    if type(value) is int:
        return value if abs(value) <= _LARGEST_INTEGER else str_of_integer(value)
    plain = _plain(value)
    return to_text(value) if plain is None else to_param(plain)


def to_pairs(values: Any) -> list[tuple[str | None, Any]] | None:
    """Give the keys and values of a mapping, of pairs or of an object such as a Namespace.

    The mapping may be changed by another thread meanwhile: it is copied first, and read again where
    that fails.

    Returns:
        Keys as texts, but None as it is; None where `values` is nothing of the kind.
    """
    for _ in range(10):
        try:
            # Keys come before attributes: those of a pandas Series are not what it holds.
            if isinstance(values, Mapping) or hasattr(type(values), "keys"):
                items = despite_filters(lambda: dict(values)).items()
            elif hasattr(values, "__dict__") and not callable(values):
                items = dict(vars(values)).items()
            else:
                items = dict(values).items()
            return [(k if type(k) is str or k is None else to_text(k), v) for k, v in items]
        except RuntimeError as error:  # "dictionary changed size during iteration"
            let_signals_through(error)
        except Exception as error:
            let_signals_through(error)
            return None
    return None


def str_of_integer(value: int) -> str:
    """Write an integer of any size; Python refuses those over 4,300 digits as decimals."""
    try:
        return str(value)
    except ValueError:
        return hex(value)


def _clamped(value: int) -> int:
    return max(-_LARGEST_INTEGER - 1, min(value, _LARGEST_INTEGER))


def _integer_to_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _float(value: Any) -> float | None:
    try:
        return despite_filters(float, value)
    except OverflowError:
        return _infinity_like(value)
    except Exception as error:
        let_signals_through(error)
        return None


def _infinity_like(value: Any) -> float | None:
    try:
        return -math.inf if value < 0 else math.inf
    except Exception as error:
        let_signals_through(error)
        return None


def _item(value: Any) -> float | None:
    plain = _plain(value)
    if isinstance(plain, int):
        return _integer_to_float(plain)
    return plain if isinstance(plain, float) else None


def _plain(value: Any) -> int | float | bool | str | None:
    """Give what `.item()` of an array's scalar gives, where it is a plain value."""
    try:
        plain = despite_filters(value.item)
    except Exception as error:
        let_signals_through(error)
        return None
    return plain if type(plain) in (int, float, bool, str) else None
