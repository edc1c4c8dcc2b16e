"""What does the step get to call Neptune's SDK with?

The SDK's run, in its offline mode, in the run's folder: nothing that the step calls waits for the
network, and what `kill -9` leaves can be read. The tracker sends what is new of it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from trackyard.contract import RetryLater, after_import, process_values
from trackyard_neptune.folder import native_folder

logger = logging.getLogger("trackyard")

_OFF = {
    "capture_stdout": False,
    "capture_stderr": False,
    "capture_hardware_metrics": False,
    "capture_traceback": False,
    "git_ref": False,
    "source_files": [],
}


class NativeRun:
    """What `native_run` gives: Neptune's run, made when it is first used.

    Importing the SDK takes seconds of CPU, and most steps do not use it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = RLock()
        self._made: Any = None

    @property
    def __class__(self) -> type:
        """Say, to integrations that ask, that it is Neptune's run."""
        return NativeRun if "neptune" not in sys.modules else type(self.made())

    @__class__.setter
    def __class__(self, _: type) -> None:
        raise TypeError("the class of a run does not change")

    def made(self) -> Any:
        """Give the SDK's own run."""
        with self._lock:
            if self._made is None:
                self._made = _new_run(self._folder)
            return self._made

    def close(self) -> None:
        """End the SDK's run, where there is one."""
        with self._lock:
            if self._made is not None:
                _close(self._made)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.made(), name)

    def __getitem__(self, path: str) -> Any:
        return self.made()[path]

    def __setitem__(self, path: str, value: Any) -> None:
        self.made()[path] = value

    def __delitem__(self, path: str) -> None:
        del self.made()[path]


@contextmanager
def active_run(folder: Path) -> Iterator[NativeRun]:
    """Let `neptune.init_run` give the step's run inside a block, and have it for `native_run`."""
    with ExitStack() as held:
        run = NativeRun(folder)
        held.callback(run.close)
        if "neptune" in sys.modules:
            _redirect(held, run)
        else:
            held.enter_context(after_import("neptune", lambda: _redirect(held, run)))
        yield run


def _redirect(held: ExitStack, run: NativeRun) -> None:
    import neptune

    def init_run(*arguments: Any, **options: Any) -> Any:  # noqa: ARG001 - the step's run has begun
        return run.made()

    try:
        held.enter_context(process_values({}, [(neptune, "init_run", init_run)]))
    except RetryLater:
        logger.warning("neptune.init_run gives an overlapping run; use native_run() for this one")


def _new_run(folder: Path) -> Any:
    from neptune.metadata_containers import Run

    place = native_folder(folder)
    place.mkdir(parents=True, exist_ok=True)
    hook = sys.excepthook
    # Only its beginning looks at the variables.
    environment = {"NEPTUNE_DATA_DIRECTORY": str(place), "NEPTUNE_CUSTOM_RUN_ID": None}
    with process_values(environment, patience=1.0), quiet():
        run = Run(project="native/native", mode="offline", **_OFF)
    sys.excepthook = hook
    processor = run._op_processor  # noqa: SLF001
    processor.enqueue_operation = _flushing(processor)
    return run


def _flushing(processor: Any) -> Callable[..., None]:
    """Have every operation written when the call returns: offline, the SDK itself never flushes."""
    enqueue = processor.enqueue_operation

    def enqueue_operation(operation: Any, *, wait: bool) -> None:
        enqueue(operation, wait=wait)
        processor.flush()

    return enqueue_operation


def _close(run: Any) -> None:
    import atexit

    with quiet():
        run.stop()
    atexit.unregister(run._shutdown_hook)  # noqa: SLF001


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the SDK from telling each step what it does, and its client from telling the token."""
    loggers = [logging.getLogger(name) for name in ("neptune", "bravado.client")]
    levels = [found.level for found in loggers]
    for found in loggers:
        found.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for found, level in zip(loggers, levels, strict=True):
            found.setLevel(level)
