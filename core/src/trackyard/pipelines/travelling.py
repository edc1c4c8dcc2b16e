"""How does an exception get to another process as itself: its class, arguments and attributes?

Its own `__init__` is not called again, which may take other arguments than the exception keeps.
"""

from __future__ import annotations

import builtins
import io
import pickle
import sys
import traceback
from contextlib import suppress
from typing import Any

import cloudpickle

from trackyard.contract.errors import StepError


class RemoteTraceback(Exception):
    """Where another process raised an exception, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Travelling(Exception):
    """An exception on its way; it arrives as the one that it carries.

    Args:
        error: The exception.
        text: What stands for it where it cannot be made again.
    """

    def __init__(self, error: BaseException, text: str) -> None:
        super().__init__(error, text)
        self._parts = (_packed(error), "".join(traceback.format_exception(error)), text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, self._parts


def _arrived(packed: bytes | None, trace: str, text: str) -> BaseException:
    """Make the exception again, with where it was raised as its cause."""
    error: BaseException = StepError(text)
    if packed is not None:
        try:
            error = pickle.loads(packed)  # noqa: S301 - a worker of this pipeline run made it
        except Exception:  # its class is not here, or refuses to be made again
            error = StepError(text)
    object.__setattr__(error, "__cause__", RemoteTraceback(trace))
    return error


def _packed(error: BaseException) -> bytes | None:
    """Give bytes of an exception; what of it cannot travel is its text there."""
    for is_careful in (False, True):
        with suppress(Exception):  # objects decide for themselves how they fail
            packed = _dumps(error, is_careful=is_careful)
            if isinstance(pickle.loads(packed), type(error)):  # noqa: S301 - made a moment ago
                return packed
    return None


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Makes bytes of exceptions without their frames, wherever they stand in one another."""

    def __init__(self, file: io.BytesIO, *, is_careful: bool) -> None:
        super().__init__(file)
        self._is_careful = is_careful

    def reducer_override(self, obj: Any) -> Any:
        """Take exceptions and their classes apart; leave all else to cloudpickle."""
        if isinstance(obj, type) and issubclass(obj, BaseException):
            return self._of_class(obj)
        if isinstance(obj, BaseException) and not _decides_itself(type(obj)):
            return self._of_error(obj)
        return super().reducer_override(obj)

    def _of_class(self, kind: type[BaseException]) -> Any:
        # By value only where nothing else is left: it would change the class that is there.
        usual = super().reducer_override(kind)
        if usual is NotImplemented:
            return usual
        return _class_named, (kind.__module__, kind.__qualname__, cloudpickle.dumps(kind))

    def _of_error(self, error: BaseException) -> Any:
        base = _builtin_base(type(error))
        reduced = base.__reduce__(error)
        state: dict[str, Any] = dict(reduced[2] or {}) if len(reduced) > 2 else {}
        own = object.__getstate__(error)
        if isinstance(own, tuple):  # with slots
            state |= own[1]
        made = (type(error), base, reduced[1])
        kept = (error.args, state)
        if self._is_careful:
            made, kept = _fit(made), _fit(kept)
        # What it holds comes after it, since that may hold the exception itself.
        return _made_again, made, kept, None, None, _filled


def _fit(value: Any) -> Any:
    """Put a text in place of what cannot travel."""
    if type(value) is tuple:
        return tuple(_fit(item) for item in value)
    if type(value) is dict:
        return {key: _fit(item) for key, item in value.items()}
    try:
        pickle.loads(_dumps(value, is_careful=False))  # noqa: S301 - made a moment ago
    except Exception:  # objects decide for themselves how they fail
        return _text_of(value)
    return value


def _dumps(value: Any, *, is_careful: bool) -> bytes:
    file = io.BytesIO()
    _Pickler(file, is_careful=is_careful).dump(value)
    return file.getvalue()


def _text_of(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # of the user's own making
        return object.__repr__(value)


def _decides_itself(kind: type[BaseException]) -> bool:
    """Tell whether a class says how its exceptions are moved."""
    names = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__")
    return any(name in vars(base) for base in _own_bases(kind) for name in names)


def _own_bases(kind: type[BaseException]) -> list[type]:
    return [base for base in kind.__mro__ if getattr(builtins, base.__name__, None) is not base]


def _builtin_base(kind: type[BaseException]) -> Any:
    return next(base for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)


def _class_named(module: str, name: str, by_value: bytes) -> Any:
    """Give the class that is here under this name; else one made of its value."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, BaseException):
        return found
    return cloudpickle.loads(by_value)


def _made_again(kind: type[BaseException], base: Any, arguments: tuple[Any, ...]) -> Any:
    error = base.__new__(kind, *arguments)
    base.__init__(error, *arguments)
    return error


def _filled(error: BaseException, kept: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    args, state = kept
    for name, value in {"args": args, **state}.items():
        object.__setattr__(error, name, value)  # their own may refuse
