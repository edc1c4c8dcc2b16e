"""What do a step's annotations say about its arguments and outputs?

Only what is certain is refused: types of the standard library that can never fit. Everything
else is left to the step.
"""

from __future__ import annotations

import inspect
import numbers
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin

# What each annotation takes; numpy's numbers count as numbers.
_TAKES: dict[type, type | tuple[type, ...]] = {
    int: numbers.Integral,
    float: numbers.Real,
    str: str,
    bytes: (bytes, bytearray),
    list: list,
    dict: dict,
}


@lru_cache(maxsize=1024)
def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Give a function's signature; it is looked at at each step."""
    return inspect.signature(function)


@lru_cache(maxsize=1024)
def output_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Name a step's outputs: `output`, or one name for each part of a `tuple[A, B]` annotation.

    `Annotated[A, "name"]` names one, and the fields of a named tuple are named already.
    """
    named = named_tuple(function)
    if named is not None:
        return tuple(named._fields)
    parts = _output_parts(function)
    if len(parts) == 1:
        return (_label(parts[0]) or "output",)
    return tuple(_label(part) or f"output_{index}" for index, part in enumerate(parts))


def named_tuple(function: Callable[..., Any]) -> Any:
    """Give the class of named tuples that a step is annotated to return, or None."""
    annotation = _hints(function).get("return")
    is_tuple = isinstance(annotation, type) and issubclass(annotation, tuple)
    return annotation if is_tuple and len(getattr(annotation, "_fields", ())) > 1 else None


def output_type(function: Callable[..., Any], name: str | None) -> Any:
    """Give the annotated type of one output, or None where nothing is said.

    Args:
        function: A step's function.
        name: The output's name; None for all of them together.
    """
    parts = _output_parts(function)
    if name is None:
        return tuple
    return dict(zip(output_names(function), parts, strict=True)).get(name)


def value_mismatch(function: Callable[..., Any], parameter: str, value: Any) -> str | None:
    """Say why a value cannot be an argument, or None where it may; a default always may.

    Args:
        function: A step's or pipeline's function.
        parameter: The parameter's name.
        value: What is to be passed.
    """
    wanted = _plain(_hints(function).get(parameter))
    if wanted not in _TAKES or isinstance(value, _TAKES[wanted]):
        return None
    if value is signature_of(function).parameters[parameter].default:
        return None
    return f"wants {wanted.__name__}, not {value!r}"


def type_mismatch(function: Callable[..., Any], parameter: str, given: Any) -> str | None:
    """Say why the output of a step cannot be an argument, or None where it may.

    Args:
        function: The step's function.
        parameter: Name of the parameter.
        given: The annotated type of the output, or None.
    """
    wanted, given = _plain(_hints(function).get(parameter)), _plain(given)
    if wanted not in _TAKES or given not in _TAKES or issubclass(given, _TAKES[wanted]):
        return None
    return f"wants {wanted.__name__}, and the step before it gives {given.__name__}"


def _output_parts(function: Callable[..., Any]) -> tuple[Any, ...]:
    named = named_tuple(function)
    if named is not None:
        hints = _hints(named)
        return tuple(hints.get(field) for field in named._fields)
    annotation = _hints(function).get("return")
    parts = get_args(annotation)
    if get_origin(annotation) is tuple and len(parts) > 1 and parts[1] is not Ellipsis:
        return parts
    return (annotation,)


@lru_cache(maxsize=1024)
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # an annotation that cannot be evaluated says nothing
        return {}


def _label(annotation: Any) -> str | None:
    if get_origin(annotation) is not Annotated:
        return None
    return next((extra for extra in get_args(annotation)[1:] if isinstance(extra, str)), None)


def _plain(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return get_origin(annotation) or annotation
