"""How does something stand in for an SDK's function, whatever name a program has for it?

`from sdk import init` at the top of a program binds the function itself: what is set in the SDK's
module afterwards is not seen there. The function is the same under all its names, and so its code
is replaced for a while, by a call of the stand-in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from inspect import signature
from types import CodeType, FunctionType
from typing import Any


def standing_in(function: Any, stand_in: Callable[..., Any]) -> list[tuple[object, str, Any]]:
    """Give what `process_values` has to hold, so that calls of a function call a stand-in.

    The stand-in calls what `own_copy` has given before, where it wants the function itself.

    Args:
        function: A function of an SDK's, at the top of a module.
        stand_in: What is called instead, with the same arguments.

    Returns:
        Nothing for what is no plain function: such a thing is replaced under its name.
    """
    if not isinstance(function, FunctionType) or function.__closure__:
        return []
    code = _code_calling(stand_in)
    # Some look which arguments a function takes before they call it.
    return [(function, "__code__", code), (function, "__signature__", signature(function))]


def own_copy(function: Any) -> Any:
    """Give a function that stays as it is, whatever stands in for this one.

    Args:
        function: The function; what is none is given back.
    """
    if not isinstance(function, FunctionType):
        return function
    parts = function.__name__, function.__defaults__, function.__closure__
    copied: Any = FunctionType(function.__code__, function.__globals__, *parts)
    update_wrapper(copied, function)
    del copied.__wrapped__
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def _code_calling(stand_in: Callable[..., Any]) -> CodeType:
    """Give the code of a function that calls another one, which it has as a constant."""
    code = _call.__code__
    constants = tuple(stand_in if one == _PLACE else one for one in code.co_consts)
    return code.replace(co_consts=constants)


_PLACE = "the stand-in"


def _call(*arguments: Any, **keywords: Any) -> Any:
    stand_in: Any = "the stand-in"  # a constant, in whose place the function comes
    return stand_in(*arguments, **keywords)
