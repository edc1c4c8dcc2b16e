"""How are cross-cutting plugins kept from stopping or repeating what a tracker's hooks do?"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Generator
from threading import current_thread, main_thread
from typing import Any

from trackyard.contract import hookspecs
from trackyard.contract.errors import without_statement
from trackyard.hooks.rules import marked_functions
from trackyard.redaction.redactor import Redactor
from trackyard.system.interruption import StepTimeoutError, Terminated

logger = logging.getLogger("trackyard")


def guarded(plugin: object, name: str) -> object:
    """Wrap a cross-cutting plugin, so that its errors neither stop nor repeat a delivery."""
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
        try:
            return method(*arguments, **keywords)
        except BaseException as error:
            _warn_of_plugin(name, method, error)
            return None

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
        try:
            next(wrapper)
        except BaseException as error:
            _warn_of_plugin(name, method, error)
            return (yield)
        try:
            result = yield
        except BaseException as error:
            _show_error(wrapper, name, method, error)
            raise
        try:
            wrapper.send(result)
        except StopIteration as stop:
            return stop.value
        except BaseException as error:
            _warn_of_plugin(name, method, error)
        return result

    return wrap


def _show_error(
    wrapper: Generator[None, Any, Any], name: str, method: Callable[..., Any], error: BaseException
) -> None:
    """Let a wrapper see the hook's error; it cannot hide it."""
    try:
        wrapper.throw(error)
    except StopIteration:
        return
    except BaseException as raised:
        if raised is not error:
            _warn_of_plugin(name, method, raised)


def _warn_of_plugin(name: str, method: Callable[..., Any], error: BaseException) -> None:
    if is_from_user(error):
        raise error
    logger.warning("plugin %r: %s", name, reason_of(method.__name__, error))


def reason_of(hook: str, error: BaseException, redactor: Redactor | None = None) -> str:
    """Give what a hook raised as one line, without secrets."""
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
    """Tell whether this is a real Ctrl-C or SIGTERM, which come in the main thread alone."""
    is_signal = isinstance(error, (KeyboardInterrupt, Terminated))
    return is_signal and current_thread() is main_thread()
