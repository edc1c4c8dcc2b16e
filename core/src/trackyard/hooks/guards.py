"""How is what plugins raise caught, and cross-cutting ones kept from stopping a tracker's hooks?

This is the one place that catches it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Generator
from threading import current_thread, main_thread
from typing import Any, Generic, NamedTuple, TypeVar

from trackyard.contract import hookspecs
from trackyard.contract.errors import without_statement
from trackyard.hooks.rules import marked_functions
from trackyard.redaction.redactor import Redactor
from trackyard.system.interruption import StepTimeoutError, Terminated, came_from_signal

logger = logging.getLogger("trackyard")

_T = TypeVar("_T")


class Tried(NamedTuple, Generic[_T]):
    """What a call of a plugin's code gave, or what it raised."""

    value: _T | None
    error: BaseException | None


def tried(call: Callable[..., _T], *arguments: Any, **keywords: Any) -> Tried[_T]:
    """Call what a plugin has given; only a real Ctrl-C or SIGTERM comes through.

    Args:
        call: What is called; its `sys.exit()` ends nothing, either.
        *arguments: Its arguments.
        **keywords: Likewise, by name.
    """
    try:
        return Tried(call(*arguments, **keywords), None)
    except BaseException as error:
        if is_from_user(error):
            raise
        return Tried(None, error)


def guarded(plugin: object, name: str) -> object:
    """Wrap a cross-cutting plugin, so that its errors neither stop nor repeat a delivery.

    Args:
        plugin: The plugin.
        name: What it is called in warnings.
    """
    wrapped = type("GuardedPlugin", (), {})()
    for attribute, function in marked_functions(plugin):
        method = getattr(plugin, attribute)
        hook = getattr(hookspecs, function.trackyard_impl.get("specname") or attribute)
        if function.trackyard_impl.get("wrapper"):
            guard = _guard_wrapper
        else:
            guard = _guard_listener if hook.trackyard_spec["firstresult"] else _guard_call
        setattr(wrapped, attribute, guard(method, name))
    return wrapped


def _guard_call(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **keywords: Any) -> Any:
        value, error = tried(method, *arguments, **keywords)
        if error is not None:
            _warn_of_plugin(name, method, error)
        return value

    return call


def _guard_listener(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Call a plain function after a hook that has one answer, which is the tracker's to give."""
    call = _guard_call(method, name)

    @functools.wraps(method)
    def listen(*arguments: Any, **keywords: Any) -> Generator[None, Any, Any]:
        result = yield
        call(*arguments, **keywords)
        return result

    listen.trackyard_impl = {**call.trackyard_impl, "wrapper": True}  # type: ignore[attr-defined]
    return listen


def _guard_wrapper(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrap(*arguments: Any, **keywords: Any) -> Generator[None, Any, Any]:
        wrapper = method(*arguments, **keywords)
        _, error = tried(next, wrapper)
        if error is not None:
            _warn_of_plugin(name, method, error)
            return (yield)
        try:
            result = yield
        except BaseException as of_hook:
            # It sees the hook's error, and cannot hide it.
            _, error = tried(wrapper.throw, of_hook)
            if error is not of_hook and not isinstance(error, StopIteration | None):
                _warn_of_plugin(name, method, error)
            raise
        _, error = tried(wrapper.send, result)
        if isinstance(error, StopIteration):
            return error.value
        if error is not None:
            _warn_of_plugin(name, method, error)
        return result

    return wrap


def _warn_of_plugin(name: str, method: Callable[..., Any], error: BaseException) -> None:
    logger.warning("plugin %r: %s", name, reason_of(method.__name__, error))


def reason_of(hook: str, error: BaseException, redactor: Redactor | None = None) -> str:
    """Give what a hook raised as one line, without secrets.

    Args:
        hook: The hook's name.
        error: What it raised.
        redactor: Takes secrets out of the text.
    """
    if isinstance(error, StepTimeoutError):
        return f"{hook}: it took too long and was interrupted"
    try:
        text = without_statement(
            " ".join(str(error)[:10_000].split())
        )  # secrets are searched in it
    except Exception:  # an exception whose __str__ raises
        text = "(no message)"
    return f"{hook}: {type(error).__name__}: {(redactor or Redactor()).redact(text)[:500]}"


def is_from_user(error: BaseException) -> bool:
    """Tell whether this is a real Ctrl-C or SIGTERM, or what a handler of the user's raised.

    They come in the main thread alone.
    """
    if current_thread() is not main_thread():
        return False
    if isinstance(error, (KeyboardInterrupt, Terminated)):
        return True
    return came_from_signal(error) and not isinstance(error, StepTimeoutError)
