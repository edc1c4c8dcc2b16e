"""How is a flavor made to fail at a chosen moment, with everything else of it as it is?

A faulty flavor is a subclass whose hooks call those of the flavor, and raise, hang or end the
process before or after that. It is written into a module of the project, so that worker processes
and recovery find it by its dotted path as well.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import attrs

from trackyard.contract.errors import RetryLater
from trackyard.hooks.discovery import load_flavor

_ERRORS: dict[str, Callable[[], BaseException]] = {
    "raise": lambda: RuntimeError("the SDK has a bug"),
    "refuse": lambda: ConnectionError("the server refuses"),
    "later": lambda: RetryLater("429 too many requests", after=0.05),
    "exit": lambda: SystemExit(3),
}


# The hooks that run in this process, with the thread of each.
_RUNNING: list[tuple[str, int]] = []


def is_running(hook: str, *, anywhere: bool = False) -> bool:
    """Tell whether a hook runs that is announced.

    Args:
        hook: The hook.
        anywhere: In any thread, not in this one alone.
    """
    here = threading.get_ident()
    return any(name == hook and (anywhere or thread == here) for name, thread in list(_RUNNING))


@contextmanager
def _announced(hook: str) -> Iterator[None]:
    known = (hook, threading.get_ident())
    _RUNNING.append(known)
    try:
        yield
    finally:
        _RUNNING.remove(known)


@attrs.frozen
class Fault:
    """What goes wrong in a hook.

    Attributes:
        hook: The hook.
        kind: `raise` an error of the SDK's, `refuse` as a server that is away, `later` as one
            that is busy, `exit` as a plugin that calls `sys.exit`, `twice` calls the hook twice,
            `die` ends the process without a word, `hang` waits until the process is killed;
            `announce` is no fault: `is_running` tells that the hook runs.
        moment: Before the flavor's own hook is called, or after it: then its answer is lost.
        times: How often it happens, in all processes together.
    """

    hook: str
    kind: Literal["raise", "refuse", "later", "exit", "twice", "die", "hang", "announce"]
    moment: Literal["before", "after"] = "before"
    times: int = 1


def write_faulty_flavor(folder: Path, reference: str, faults: Sequence[Fault]) -> str:
    """Write a module with a faulty flavor as its attribute `Flavor`, and give its name.

    Args:
        folder: Where the module goes, and what it counts.
        reference: The flavor, by its name or as `module:Class`.
        faults: What goes wrong in which hook.
    """
    name = f"faulty_{secrets.token_hex(6)}"
    described = json.dumps([attrs.asdict(fault) for fault in faults])
    marks = folder / name
    marks.mkdir()
    text = (
        '"""A flavor with faults, made by trackyard.testing."""\n\n'
        "from trackyard.testing.faulty import faulty\n\n"
        f"Flavor = faulty({reference!r}, {described!r}, {str(marks)!r}, __name__)\n"
    )
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return name


def faulty(reference: str, described: str, marks: str, module: str) -> type:
    """Make the subclass that a written module holds.

    Args:
        reference: The flavor.
        described: Its faults, as JSON.
        marks: The folder where it is counted how often each has happened.
        module: The module's name.
    """
    flavor = load_flavor(reference)
    faults = [Fault(**values) for values in json.loads(described)]
    wrapped: dict[str, Any] = {"__module__": module, "__qualname__": "Flavor"}
    wrapped["__doc__"] = flavor.__doc__
    for number, fault in enumerate(faults):
        original = wrapped.get(fault.hook) or getattr(flavor, fault.hook)
        wrapped[fault.hook] = _with_fault(original, fault, Path(marks) / str(number))
    return type("Flavor", (flavor,), wrapped)


def _with_fault(original: Callable[..., Any], fault: Fault, mark: Path) -> Callable[..., Any]:
    @functools.wraps(original)  # with the signature and the mark that pluggy looks for
    def hook(self: object, *arguments: Any) -> Any:
        if fault.kind == "announce":
            with _announced(fault.hook):
                return original(self, *arguments)
        happens = _happens(mark, fault.times)
        if happens and fault.moment == "before":
            _fail(fault)
        answer = original(self, *arguments)
        if happens and fault.kind == "twice":
            answer = original(self, *arguments)
        if happens and fault.moment == "after":
            _fail(fault)
        return answer

    return hook


def _happens(mark: Path, times: int) -> bool:
    """Tell whether a fault is due, and count it: a byte in a file, for every process."""
    done = mark.stat().st_size if mark.exists() else 0
    if done >= times:
        return False
    with mark.open("ab") as file:
        file.write(b".")
    return True


def _fail(fault: Fault) -> None:
    if fault.kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while fault.kind == "hang":
        time.sleep(60)
    if fault.kind in _ERRORS:
        error = _ERRORS[fault.kind]()
        raise error
