"""How do W&B's own calls land in a run, and how are they read again?

They get an offline run of the SDK's in the run's folder, whether or not the server is there:
nothing that the step calls waits for the network. The SDK's service keeps up to 32 KiB in its
memory, which `kill -9` loses; what the step calls is therefore also written down at once, in
`calls.wandb`.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from trackyard.contract import RetryLater, Run, after_import, process_values
from trackyard_wandb.logfile import LogWriter, read_log
from trackyard_wandb.native_calls import OF_CALLS, calls_path, native_folder, note_finished
from trackyard_wandb.records import new_record

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger("trackyard")


@contextmanager
def active_run(run: Run, options: Mapping[str, Any]) -> Iterator[wandb.Run | None]:
    """Make a run W&B's global one inside a block, when the step imports W&B.

    Args:
        run: The run.
        options: Arguments of `wandb.init`.
    """
    activation = _Activation(run, options)
    try:
        if "wandb" in sys.modules:
            yield activation.enter()
        else:
            with after_import("wandb", activation.enter):
                yield None
    finally:
        activation.leave()


class _Activation:
    """The SDK's run of a block. Another thread may import W&B, also when the block ends."""

    def __init__(self, run: Run, options: Mapping[str, Any]) -> None:
        self._run = run
        self._options = options
        self._held = ExitStack()
        self._is_over = False
        self._lock = Lock()

    def enter(self) -> wandb.Run | None:
        """Make the run, unless the block is over."""
        with self._lock:
            return None if self._is_over else _enter(self._held, self._run, self._options)

    def leave(self) -> None:
        """Finish the run."""
        with self._lock:
            self._is_over = True
            self._held.close()


def _enter(held: ExitStack, run: Run, options: Mapping[str, Any]) -> wandb.Run:
    import wandb

    is_taken = wandb.run is not None
    if is_taken:
        logger.warning(
            "W&B's own calls go to a run that overlaps %r; use native_run() for this one", run.name
        )
    folder = native_folder(run.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if "WANDB_DATA_DIR" not in os.environ:  # where files of artifacts wait for their upload
        with suppress(RetryLater):  # a run that overlaps this one keeps them
            held.enter_context(process_values({"WANDB_DATA_DIR": str(folder / "data")}))
    hooks, had_service = (sys.excepthook, sys.exit), "WANDB_SERVICE" in os.environ
    # The SDK takes over both hooks, and children would share our service, which says of all of
    # them that they have finished.
    try:
        with process_values({"WANDB_ERROR_REPORTING": "false"}, patience=1.0):
            native = wandb.init(
                **{**options, "settings": _settings(options["settings"])},
                mode="offline",
                dir=folder,
                reinit="create_new" if is_taken else "return_previous",
            )
    finally:
        sys.excepthook, sys.exit = hooks
        if not had_service:
            os.environ.pop("WANDB_SERVICE", None)
    note_finished(folder, has_finished=False)
    held.callback(note_finished, folder, has_finished=True)
    held.callback(_finish, native)
    held.callback(_write_down(native, calls_path(folder)))
    if not is_taken:
        held.enter_context(_same_run_for_all(native, folder))
    return native


@contextmanager
def _same_run_for_all(native: wandb.Run, folder: Path) -> Iterator[None]:
    """Let `wandb.init()` in the step give the run that there is: no login, no network, no prompt.

    The SDK would do so, but it signs in before, and drops the arguments.
    """
    import wandb

    original = wandb.init
    own: Any = native

    @functools.wraps(original)
    def init(*arguments: Any, **keywords: Any) -> wandb.Run:
        given = inspect.signature(original).bind(*arguments, **keywords).arguments
        if wandb.run is not native or given.get("reinit") == "create_new":
            return original(*arguments, **keywords)
        if given.get("config"):
            own.config.update(given["config"], allow_val_change=True)
        own.tags = tuple(dict.fromkeys([*(own.tags or ()), *(given.get("tags") or ())]))
        for name in ("name", "notes"):
            if given.get(name):
                setattr(own, name, given[name])
        return own

    settings = wandb.setup().settings
    of_process = {"mode": "offline", "reinit": "return_previous", "root_dir": str(folder)}
    values = [(settings, name, value) for name, value in of_process.items()]
    with process_values({}, [*values, (wandb, "init", init)]):
        yield


def _settings(own: Mapping[str, Any]) -> Any:
    import wandb

    # What the SDK's service writes by itself is read while it grows; 15 seconds are the default.
    flush = "x_transaction_log_flush_interval"
    often = {flush: 0.1} if flush in wandb.Settings.model_fields else {}
    return wandb.Settings(**{"console": "off", "silent": True, **often, **own})


def _finish(native: wandb.Run) -> None:
    try:
        native.finish(exit_code=0)
    except Exception as error:  # what it had written is there
        logger.debug("W&B's own run cannot be finished: %s", error)


def _write_down(native: wandb.Run, path: Path) -> Callable[[], None]:
    """Write down what the step's calls send to the SDK's service; give what ends that."""
    backend = getattr(native, "_backend", None)  # where releases before 0.25 or so have it
    interface: Any = getattr(native, "_interface", None) or getattr(backend, "interface", None)
    publish = getattr(interface, "_publish", None)
    if publish is None:  # another release: what is in the SDK's own file has to do
        return lambda: None
    end_of_log = max((end for _, end in read_log(path)), default=0)
    writer, lock = LogWriter(path, end_of_log), Lock()
    if end_of_log:  # of a process before this one, whose last row is whole then
        writer.append([_commit().SerializeToString()])

    def publish_and_keep(record: Any, **keywords: Any) -> None:
        is_row = record.request.WhichOneof("request_type") == "partial_history"
        if is_row or record.WhichOneof("record_type") in OF_CALLS:
            with lock, suppress(OSError):  # a full disk: the SDK has it in its memory
                writer.append([record.SerializeToString()])
        publish(record, **keywords)

    def end() -> None:
        vars(interface).pop("_publish", None)
        with lock:
            writer.close()

    vars(interface)["_publish"] = publish_and_keep
    return end


def _commit() -> Any:
    """Give the record that ends the row that was not committed."""
    record = new_record()
    record.request.partial_history.action.flush = True
    return record
