"""When is a step's earlier result the one that it would give again?

When its code, its inputs and its params are equal. Code is the source of the step's function and
of the functions and plain values of the same module that it uses, as far as their names tell.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import pickle
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

from trackyard.artifacts import StoredOutput

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def cache_key(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str | None:
    """Give a text that is equal for equal code and arguments; None where that cannot be told.

    Args:
        function: The step's function.
        arguments: By parameter name; a `StoredOutput` stands for what it names.
    """
    digest = hashlib.sha256()
    try:
        for part in _code_of(function, set()):
            digest.update(part)
        for name, value in sorted(arguments.items()):
            digest.update(_encoded(name))
            digest.update(_encoded(value))
    except Exception:  # a value that cannot be pickled decides itself how it fails
        return None
    return digest.hexdigest()


def _encoded(value: Any) -> bytes:
    """Write a value so that what is equal and of one type is written alike."""
    kind = type(value)
    if isinstance(value, StoredOutput):
        return f"output {value.sha256} {value.materializer};".encode()
    if kind in _PLAIN:
        return _framed(kind.__name__, repr(value).encode("utf-8", "backslashreplace"))
    if kind in (list, tuple):
        return _framed(kind.__name__, b"".join(_encoded(item) for item in value))
    if kind is dict:
        pairs = [_encoded(key) + _encoded(item) for key, item in value.items()]
        return _framed("dict", b"".join(pairs))
    if kind in (set, frozenset):
        return _framed(kind.__name__, b"".join(sorted(map(_encoded, value))))
    return _framed(kind.__qualname__, pickle.dumps(value, protocol=5))


def _framed(kind: str, data: bytes) -> bytes:
    return f"{kind} {len(data)}:".encode() + data


def _code_of(function: Callable[..., Any], seen: set[int]) -> Iterator[bytes]:
    """Give a function's source and that of what it uses of its own module."""
    if id(function) in seen:
        return
    seen.add(id(function))
    yield _framed("source", _source_of(function))
    if not isinstance(function, FunctionType):
        return
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield _encoded(value)
    used = {name: function.__globals__.get(name) for name in _global_names(function.__code__)}
    closure = inspect.getclosurevars(function).nonlocals
    for name, value in sorted({**used, **closure}.items()):
        # A step or a decorated function has the user's own below it.
        inner = inspect.unwrap(value) if callable(value) else value
        is_own = getattr(inner, "__module__", None) == function.__module__
        if isinstance(inner, FunctionType) and is_own:
            yield from _code_of(inner, seen)
        elif inspect.isclass(inner) and is_own:
            yield _framed(name, _source_of(inner))
        elif type(value) in _PLAIN or name in closure:
            yield _framed(name, _encoded(value))


def _source_of(thing: Any) -> bytes:
    try:
        return textwrap.dedent(inspect.getsource(thing)).encode("utf-8", "backslashreplace")
    except (OSError, TypeError):  # made by exec, or in C
        code = getattr(thing, "__code__", None)
        if code is None:
            return f"{thing.__module__}.{thing.__qualname__}".encode()
        return bytes(code.co_code) + repr(code.co_consts).encode()


def _global_names(code: CodeType) -> set[str]:
    names = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a function or comprehension inside
            names |= _global_names(constant)
    return names
