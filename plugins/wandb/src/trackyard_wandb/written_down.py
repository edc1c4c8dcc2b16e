"""How is what the step's calls send to the SDK's service also written down at once?

The service keeps up to 32 KiB in its memory, which `kill -9` loses.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from trackyard_wandb.logfile import LogWriter, read_log
from trackyard_wandb.native_calls import OF_CALLS, calls_path
from trackyard_wandb.records import new_record

if TYPE_CHECKING:
    import wandb


class WrittenDown:
    """What the calls of one of the SDK's runs send; the file is there before the run is.

    Args:
        folder: Where the SDK writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = os.getpid()
        path = calls_path(folder)
        end = max((end for _, end in read_log(path)), default=0)
        self._lock = Lock()
        self._writer = LogWriter(path, end)
        self._interface: Any = None
        if end:  # of a process before this one, whose last row is whole then
            self._writer.append([_commit().SerializeToString()])

    def begin(self, native: wandb.Run, started_at: int) -> None:
        """Write down what a run of the SDK's is, and what its calls send from now on.

        Args:
            native: The SDK's run.
            started_at: When the run started, in nanoseconds since the epoch.
        """
        # Releases before 0.25 or so have it in a backend.
        backend: Any = getattr(native, "_backend", None)
        self._interface = getattr(native, "_interface", None) or backend.interface
        self._publish = self._interface._publish  # noqa: SLF001 - there is no public way
        first = new_record()
        first.run.CopyFrom(self._interface._make_run(native))  # noqa: SLF001
        first.run.start_time.FromNanoseconds(started_at)
        self._writer.append([first.SerializeToString()])
        vars(self._interface)["_publish"] = self._publish_and_keep
        self._native: Any = native

    def end(self) -> None:
        """Write down no more."""
        if self._interface is not None:
            vars(self._interface).pop("_publish", None)
        with self._lock:
            self._writer.close()

    def go_on_in_child(self) -> None:
        """Write down what a forked child sends, in a file of its own, which is made when it does.

        There the SDK makes an interface anew, for the run that the parent's service has.
        """
        kind, stream = type(self._interface), getattr(self._interface, "_stream_id", None)
        original = kind._publish  # noqa: SLF001

        def publish(interface: Any, record: Any, **keywords: Any) -> None:
            if getattr(interface, "_stream_id", None) == stream:
                self._keep(record)
            original(interface, record, **keywords)

        kind._publish = publish  # noqa: SLF001
        vars(self._interface).pop("_publish", None)
        self._lock = Lock()  # another thread may have held it

    def _publish_and_keep(self, record: Any, **keywords: Any) -> None:
        self._keep(record)
        self._publish(record, **keywords)

    def _keep(self, record: Any) -> None:
        is_row = record.request.WhichOneof("request_type") == "partial_history"
        if is_row or record.WhichOneof("record_type") in OF_CALLS:
            with self._lock, suppress(OSError):  # a full disk: the SDK has it in its memory
                if self._process != os.getpid():
                    self._process = os.getpid()
                    self._writer = LogWriter(calls_path(self._folder, self._process))
                    self._writer.append([_at_step(self._native.step).SerializeToString()])
                self._writer.append([record.SerializeToString()])


def _commit() -> Any:
    """Give the record that ends the row that was not committed."""
    record = new_record()
    record.request.partial_history.action.flush = True
    return record


def _at_step(step: int) -> Any:
    """Give the record that begins a row of a step, in which there is nothing yet."""
    record = new_record()
    record.request.partial_history.step.num = step
    return record
