"""What belongs to a whole process, and hence to the user, and what of it has changed?"""

from __future__ import annotations

import atexit
import builtins
import decimal
import gc
import http.client
import json
import locale
import logging
import multiprocessing
import os
import random
import signal
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM)
_BUILTINS = ("print", "open", "input")
_CONTAINERS = (dict, list, set)


def process_state() -> dict[str, Any]:
    """Give it by names that can be shown."""
    state: dict[str, Any] = {f"variable {key}": value for key, value in os.environ.items()}
    state.pop("variable PYTEST_CURRENT_TEST", None)
    state |= {f"the handler of {number.name}": signal.getsignal(number) for number in _SIGNALS}
    root = logging.getLogger()
    return {
        **state,
        "the working directory": Path.cwd(),
        "sys.path": list(sys.path),
        "sys.stdout": sys.stdout,
        "sys.stderr": sys.stderr,
        "sys.excepthook": sys.excepthook,
        "threading.excepthook": threading.excepthook,
        "the recursion limit": sys.getrecursionlimit(),
        "the root logger's level": root.level,
        "the root logger's handlers": list(root.handlers),
        "the level that logging.disable sets": root.manager.disable,
        "the default time-out of sockets": socket.getdefaulttimeout(),
        "the filters of warnings": list(warnings.filters),
        "the state of random": random.getstate(),
        "the state of numpy.random": _numpy_state(),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the umask": _umask(),
        **_of_the_interpreter(),
    }


def _of_the_interpreter() -> dict[str, Any]:
    return {
        "the collector of garbage": gc.isenabled(),
        "the interval in which threads take turns": sys.getswitchinterval(),
        "sys.settrace": sys.gettrace(),
        "threading.settrace": threading.gettrace(),
        "threading.setprofile": threading.getprofile(),
        "the start method of multiprocessing": multiprocessing.get_start_method(allow_none=True),
        "the precision of decimals": decimal.DefaultContext.prec,
        "json.JSONEncoder.default": json.JSONEncoder.default,
        **{f"builtins.{name}": getattr(builtins, name) for name in _BUILTINS},
        "the policy of event loops": _loop_policy(),
        "the debug level of http.client": http.client.HTTPConnection.debuglevel,
        "the opener of urllib": getattr(sys.modules.get("urllib.request"), "_opener", None),
        "the context of HTTPS": _https_context(),
    }


def _loop_policy() -> Any:
    """Give the policy that someone has set; asking asyncio itself would make one."""
    events = sys.modules.get("asyncio.events")
    return getattr(events, "_event_loop_policy", None)


def _https_context() -> Any:
    """Give what makes contexts of HTTPS, which a program may replace to trust anybody."""
    return ssl._create_default_https_context  # noqa: SLF001 - the documented way is this name


def unusual() -> None:
    """Set what is set by a plain value to one that no program sets; `restore` sets it back.

    What sets it to a value of its own is seen then, though it did so before, or though a library
    had set the same.
    """
    sys.setrecursionlimit(sys.getrecursionlimit() + 13)
    sys.setswitchinterval(sys.getswitchinterval() + 0.0013)
    socket.setdefaulttimeout(613.0)
    os.umask(0o021)
    decimal.DefaultContext.prec = 31
    gc.enable()
    random.seed(130_013)
    if (numpy := _numpy()) is not None:
        numpy.random.seed(130_013)
    root = logging.getLogger()
    root.setLevel(13)
    root.handlers.clear()  # `logging.basicConfig` does nothing where there are some
    methods = [m for m in multiprocessing.get_all_start_methods() if m != "fork"]
    used = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(methods[methods[-1] != used and -1], force=True)
    http.client.HTTPConnection.debuglevel = 0
    ssl._create_default_https_context = _strict_context  # noqa: SLF001 - as above


def _strict_context(*_: Any, **__: Any) -> ssl.SSLContext:
    return ssl.create_default_context()


def restore(state: Mapping[str, Any]) -> None:
    """Set what can be set of a state, so that what sets it anew is seen, though it did so before.

    What the import of an SDK has added to the paths of modules and to streams stays.

    Args:
        state: What `process_state` gave.
    """
    variables = {
        name.removeprefix("variable "): value
        for name, value in state.items()
        if name.startswith("variable ")
    }
    for name in set(os.environ) - {*variables, "PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(variables)
    for number in _SIGNALS:
        handler = state[f"the handler of {number.name}"]
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    sys.excepthook = state["sys.excepthook"]
    threading.excepthook = state["threading.excepthook"]
    sys.setrecursionlimit(state["the recursion limit"])
    root = logging.getLogger()
    root.setLevel(state["the root logger's level"])
    root.handlers[:] = state["the root logger's handlers"]
    logging.disable(state["the level that logging.disable sets"])
    socket.setdefaulttimeout(state["the default time-out of sockets"])
    warnings.filters[:] = state["the filters of warnings"]  # type: ignore[index]
    random.setstate(state["the state of random"])
    if (known := state["the state of numpy.random"]) is not None:
        name, keys, *rest = known
        numpy = sys.modules["numpy"]
        numpy.random.set_state((name, numpy.frombuffer(keys, numpy.uint32), *rest))
    http.client.HTTPConnection.debuglevel = state["the debug level of http.client"]
    ssl._create_default_https_context = state["the context of HTTPS"]  # noqa: SLF001 - as above
    os.umask(state["the umask"])
    _restore_interpreter(state)


def _restore_interpreter(state: Mapping[str, Any]) -> None:
    (gc.enable if state["the collector of garbage"] else gc.disable)()
    sys.setswitchinterval(state["the interval in which threads take turns"])
    threading.settrace(state["threading.settrace"])
    threading.setprofile(state["threading.setprofile"])
    method = state["the start method of multiprocessing"]
    if multiprocessing.get_start_method(allow_none=True) != method:
        multiprocessing.set_start_method(method, force=True)
    decimal.DefaultContext.prec = state["the precision of decimals"]
    json.JSONEncoder.default = state["json.JSONEncoder.default"]  # type: ignore[method-assign]
    for name in _BUILTINS:
        setattr(builtins, name, state[f"builtins.{name}"])


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Name what has changed; empty where nothing has.

    Args:
        before: What `process_state` gave.
        after: What it gave later.
    """
    return ", ".join(sorted(changed_between(before, after)))


def changed_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Give the names of what has changed.

    Args:
        before: What `process_state` gave.
        after: What it gave later.
    """
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}


@contextmanager
def noted_at_exit() -> Iterator[list[Callable[..., Any]]]:
    """Give a list of the functions that are registered in a block for the interpreter's end."""
    noted: list[Callable[..., Any]] = []
    register, unregister = atexit.register, atexit.unregister

    def registering(function: Any, *arguments: Any, **keywords: Any) -> Any:
        noted.append(function)
        return register(function, *arguments, **keywords)

    def unregistering(function: Any) -> None:
        noted[:] = [other for other in noted if other != function]
        unregister(function)

    with patch.multiple(atexit, register=registering, unregister=unregistering):
        yield noted


def open_descriptors() -> int | None:
    """Count the descriptors of this process; None where the system does not tell."""
    folder = Path("/proc/self/fd") if Path("/proc/self/fd").is_dir() else Path("/dev/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else None


def sizes_of_globals(package: str) -> dict[str, int]:
    """Give how much the containers hold that stand in the globals of a package's modules.

    Args:
        package: Its name; of a module of several flavors, such as a test's, the module's own.
    """
    modules = {
        name: module
        for name, module in list(sys.modules.items())
        if name == package or name.startswith(f"{package}.")
    }
    return {
        f"{name}.{key}": len(value)
        for name, module in modules.items()
        for key, value in list(vars(module).items())
        if isinstance(value, _CONTAINERS) and not key.startswith("__")
    }


def _numpy_state() -> Any:
    """Give the state of the generator that the whole process shares, where numpy is imported."""
    numpy = _numpy()
    if numpy is None:
        return None
    name, keys, *rest = numpy.random.get_state()
    return name, keys.tobytes(), *rest


def _numpy() -> Any:
    """Give numpy where it is imported, as a whole."""
    numpy = sys.modules.get("numpy")
    return numpy if hasattr(numpy, "random") else None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
