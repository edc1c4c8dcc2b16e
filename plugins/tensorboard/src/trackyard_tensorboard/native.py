"""How do TensorBoard's own writers land in a run's folder?"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from threading import Lock
from typing import Any

import attrs

from trackyard.contract import Capture, Tag, after_import, process_values
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


@attrs.define(eq=False)
class Step:
    """A run that is active, as writers meet it.

    Attributes:
        name: The run's.
        folder: Its folder.
        capture: Takes what writers write, and makes child runs; None where nothing is captured.
        folder_of: Gives the folder of a child run, by its name and the tracker's folder of it.
    """

    name: str
    folder: Path
    capture: Capture | None
    folder_of: Callable[[str, Path], Path]
    _follow: Callable[[Path, Capture], None] | None = None
    _made: list[tuple[Any, Capture | None]] = attrs.field(factory=list)
    _lock: Any = attrs.field(factory=Lock)

    def follow(self, follow: Callable[[Path, Capture], None]) -> None:
        """Have what is written to folders of child runs captured by this."""
        self._follow = follow

    def folder_for(self, writer: Any, comment: str) -> tuple[Path, int]:
        """Give the folder of a writer that names none, and how many there were before it.

        The first one's is the run's. Each later one is a run of its own, as it is alone.

        Args:
            writer: The writer.
            comment: What tells it from others.
        """
        with self._lock:
            number = len(self._made)
            child, folder = self._child(comment, number) if number else (None, self.folder)
            self._made.append((writer, child))
        if not number and comment and self.capture is not None:
            self.capture([Tag("tensorboard.comment", comment)], remote_id=comment)
        return folder, number

    def close(self) -> None:
        """Have writers write what they hold, also such as the step has let go of."""
        for writer, _ in self._made:
            with suppress(Exception):  # the step may have closed it by other ways
                writer.close()

    def _child(self, comment: str, number: int) -> tuple[Capture | None, Path]:
        self._end_those_that_are_closed()
        name = comment.strip("_-. ") or f"{self.name}-{number + 1}"
        folders: list[Path] = []
        child = self.capture and self.capture.start_run(name, folders.append)
        if not child:
            return None, self.folder / re.sub(r"[^\w.=+-]", "_", name)
        folder = self.folder_of(name, folders[0])
        if self._follow is not None:
            self._follow(folder, child)
        return child, folder

    def _end_those_that_are_closed(self) -> None:
        """End the runs of writers that were closed; the others end with the step."""
        for place, (writer, child) in enumerate(self._made):
            is_closed = getattr(writer, "file_writer", writer) is None
            if child is not None and is_closed:
                child.end_run()
                self._made[place] = (writer, None)


@contextmanager
def active_run(step: Step) -> Iterator[NativeRun]:
    """Let writers that are made inside a block without a folder of their own write into a run.

    They are closed at the end, so that all is written that they hold; a closed writer that is used
    again opens a file of its own.

    Args:
        step: The run.
    """
    with ExitStack() as held:
        held.enter_context(_strays_told())
        if step.capture is not None:
            step.follow(held.enter_context(captured(step.folder, step.capture)))
        run = NativeRun(step.folder)
        held.callback(run.close)
        held.callback(step.close)
        for module in _WRITERS:
            redirect = partial(_redirect, held, step, module)
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


def _redirect(held: ExitStack, step: Step, module: str) -> None:
    writer_class = sys.modules[module].SummaryWriter
    original = writer_class.__init__

    @wraps(original)
    def init(self: Any, *arguments: Any, **options: Any) -> None:
        if not any((*arguments[:1], options.get("logdir"), options.get("log_dir"))):
            comment = str((*arguments[1:2], options.get("comment") or "")[0])
            folder, number = step.folder_for(self, comment)
            arguments = (str(folder), *arguments[1:])
            options = {k: v for k, v in options.items() if k not in ("logdir", "log_dir")}
            # Two writers of one second would have one file, and the second one begin it anew.
            options.setdefault("filename_suffix", f".native{number}")
        original(self, *arguments, **options)

    held.enter_context(process_values({}, [(writer_class, "__init__", init)], _PATIENCE))
