"""How do TensorBoard's own writers land in a run's folder?"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from threading import Lock
from typing import Any

from trackyard.contract import Capture, after_import, process_values
from trackyard_tensorboard.capturing import captured

logger = logging.getLogger("trackyard")

# Where the writers are that people use; both have the same arguments.
_WRITERS = ("tensorboardX.writer", "torch.utils.tensorboard.writer")
# Where libraries write without any writer of Python's.
_STRAYS = ("catboost_info",)
# Seconds to wait for an overlapping run, whose folder new writers belong to.
_PATIENCE = 1.0


class NativeRun:
    """What `native_run` gives of a run in TensorBoard: its folder, and a writer of tensorboardX's.

    The writer is made when it is first used: importing tensorboardX costs half a second.

    Attributes:
        log_dir: The run's folder, for any other writer.
    """

    def __init__(self, folder: Path) -> None:
        self.log_dir = str(folder)
        self._lock = Lock()
        self._writer: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._made(), name)

    def close(self) -> None:
        """Write what the writer still holds."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()

    def _made(self) -> Any:
        with self._lock:
            if self._writer is None:
                from tensorboardX import SummaryWriter

                self._writer = SummaryWriter(self.log_dir, filename_suffix=".trackyard")
            return self._writer


@contextmanager
def active_run(folder: Path, capture: Capture | None) -> Iterator[NativeRun]:
    """Let writers that are made inside a block without a folder of their own write into this one.

    They are closed at the end, so that all is written that they hold; a closed writer that is used
    again opens a file of its own.

    Args:
        folder: The run's folder.
        capture: Takes what native writers write, or None.
    """
    with ExitStack() as held:
        held.enter_context(_strays_told())
        if capture is not None:
            held.enter_context(captured(folder, capture))
        run = NativeRun(folder)
        held.callback(run.close)
        for module in _WRITERS:
            redirect = partial(_redirect, held, folder, module)
            if module in sys.modules:
                redirect()
            else:
                held.enter_context(after_import(module, redirect))
        yield run


@contextmanager
def _strays_told() -> Iterator[None]:
    """Say at the end which event files a library has written past all writers, and what to type."""
    begun = time.time_ns()
    strays = [Path(name).absolute() for name in _STRAYS] if Path().exists() else []
    try:
        yield
    finally:
        for folder in strays:
            files = list(folder.rglob("*tfevents*")) if folder.is_dir() else []
            if any(file.stat().st_mtime_ns >= begun for file in files):
                logger.warning(
                    "event files were written to %s by no writer that can be followed; to have "
                    "them in the run, add to its step or stack: capture = ['tensorboard=%s']",
                    *(folder, folder.name),
                )


def _redirect(held: ExitStack, folder: Path, module: str) -> None:
    writer_class = sys.modules[module].SummaryWriter
    original = writer_class.__init__
    made: list[Any] = []  # also such as the step has let go of: they hold what is to be written

    @wraps(original)
    def init(self: Any, *arguments: Any, **options: Any) -> None:
        if not any((*arguments[:1], options.get("logdir"), options.get("log_dir"))):
            arguments = (str(folder), *arguments[1:])
            options = {k: v for k, v in options.items() if k not in ("logdir", "log_dir")}
            # Two writers of one second would have one file, and the second one begin it anew.
            options.setdefault("filename_suffix", f".native{len(made)}")
            made.append(self)
        original(self, *arguments, **options)

    held.enter_context(process_values({}, [(writer_class, "__init__", init)], _PATIENCE))
    held.callback(_close, made)


def _close(writers: list[Any]) -> None:
    for writer in writers:
        with suppress(Exception):  # the step may have closed it by other ways
            writer.close()
