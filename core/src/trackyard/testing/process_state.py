"""What belongs to a whole process, and hence to the user, and what of it has changed?"""

from __future__ import annotations

import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM)
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
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Name what has changed; empty where nothing has.

    Args:
        before: What `process_state` gave.
        after: What it gave later.
    """
    changed = [key for key in {*before, *after} if before.get(key) != after.get(key)]
    return ", ".join(sorted(changed))


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
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "random"):
        return None
    name, keys, *rest = numpy.random.get_state()
    return name, keys.tobytes(), *rest


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
