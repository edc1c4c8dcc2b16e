"""How do W&B's own calls land in a run, and how are they read again?

They get an offline run of the SDK's in the run's folder, whether or not the server is there:
nothing that the step calls waits for the network. The SDK's service keeps up to 32 KiB in its
memory, which `kill -9` loses; what the step calls is therefore also written down at once, in
`calls.wandb`.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from trackyard.contract import Run, after_import, process_values
from trackyard_wandb.logfile import LogWriter, read_log
from trackyard_wandb.records import Row, history_record, parse

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger("trackyard")

# Kinds of records that the step's calls make. The SDK's service makes the others.
_OF_CALLS = {"config", "metric", "alert", "run", "files", "summary"}
_OF_SERVICE = {"environment", "stats", "output", "output_raw", "artifact", "use_artifact",
               "link_artifact", "files", "summary", "telemetry"}  # fmt: skip
_OF_ITS_OWN = {"header", "footer", "final", "exit", "request"}


def native_folder(folder: Path) -> Path:
    """Give the folder where the SDK writes."""
    return folder / "native"


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
    held.callback(_finish, native)
    held.callback(_write_down(native, folder / "calls.wandb"))
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

    return wandb.Settings(**{"console": "off", "silent": True, **own})


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
    writer, lock = LogWriter(path, max((end for _, end in read_log(path)), default=0)), Lock()

    def publish_and_keep(record: Any, **keywords: Any) -> None:
        is_row = record.request.WhichOneof("request_type") == "partial_history"
        if is_row or record.WhichOneof("record_type") in _OF_CALLS:
            with lock, suppress(OSError):  # a full disk: the SDK has it in its memory
                writer.append([record.SerializeToString()])
        publish(record, **keywords)

    def end() -> None:
        vars(interface).pop("_publish", None)
        with lock:
            writer.close()

    vars(interface)["_publish"] = publish_and_keep
    return end


class NativeCalls:
    """Reads what W&B's own calls have left in a run's folder, from where it stopped before.

    Args:
        folder: The run's folder.
        known: For each of the files how many of its records are in the run already.
    """

    def __init__(self, folder: Path, known: Mapping[str, int]) -> None:
        self._folder = native_folder(folder)
        self._known = dict(known)
        self._ends: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._rows = _Rows()
        self._started: set[str] = set()

    def services(self) -> list[Path]:
        """Give the folders of the SDK's own files."""
        return sorted(self._folder.glob("wandb/offline-run-*"))

    def wait_for_end(self, seconds: float) -> None:
        """Wait until the SDK's files are whole: its `finish` returns a little before that."""
        end = time.monotonic() + seconds
        files = [file for folder in self.services() for file in folder.glob("*.wandb")]
        for file in files:
            while not _has_ended(file) and time.monotonic() < end:
                time.sleep(0.02)

    def new(self, *, is_all: bool) -> Iterator[tuple[str, Any]]:
        """Give the new records, each with a name that is the same whenever it is read.

        Args:
            is_all: No more will come: the row that was not committed is one, too.
        """
        calls = self._folder / "calls.wandb"
        has_calls = calls.exists()
        for record in self._read(calls):
            if record.WhichOneof("record_type") != "request":
                yield from self._named("calls", record)
                continue
            for row in self._rows.add(record.request.partial_history):
                yield from self._named("calls", row)
        if is_all and (last := self._rows.take()) is not None:
            yield from self._named("calls", last)
        for folder in self.services():
            for file in folder.glob("*.wandb"):
                for record in self._read(file):
                    if self._is_wanted(folder.name, record, has_calls):
                        yield from self._named(folder.name, record)

    def _is_wanted(self, name: str, record: Any, has_calls: bool) -> bool:
        kind = record.WhichOneof("record_type")
        if has_calls:
            return kind in _OF_SERVICE
        if kind == "run" and name not in self._started:
            self._started.add(name)  # the one that our own `wandb.init` made
            return False
        return kind not in _OF_ITS_OWN

    def _read(self, path: Path) -> Iterator[Any]:
        for data, end in read_log(path, self._ends.get(str(path), 0)):
            self._ends[str(path)] = end
            yield parse(data)

    def _named(self, source: str, record: Any) -> Iterator[tuple[str, Any]]:
        number = self._counts.get(source, 0)
        self._counts[source] = number + 1
        if number >= self._known.get(source, 0):
            yield f"{source}:{number}", record


def _has_ended(path: Path) -> bool:
    return any(parse(data).WhichOneof("record_type") == "exit" for data, _ in read_log(path))


class _Rows:
    """Puts together the rows that `wandb.log` makes of several calls, as the SDK's service does.

    A call whose step goes backwards, which the service drops, is a row of its own here.
    """

    def __init__(self) -> None:
        self._row: Row = {}
        self._step = 0

    def add(self, request: Any) -> Iterator[Any]:
        new = {item.key or ".".join(item.nested_key): item.value_json for item in request.item}
        if request.HasField("step"):
            if request.step.num < self._step:
                yield _numbered(new, request.step.num)
                return
            if request.step.num > self._step:
                yield from self._commit()
                self._step = request.step.num
        self._row |= new
        is_flushed = request.action.flush if request.HasField("action") else None
        if is_flushed or (is_flushed is None and not request.HasField("step")):
            yield from self._commit()
            self._step += 1

    def take(self) -> Any | None:
        """Give the row that was not committed."""
        return next(self._commit(), None)

    def _commit(self) -> Iterator[Any]:
        if self._row:
            row, self._row = self._row, {}
            yield _numbered(row, self._step)


def _numbered(row: Row, step: int) -> Any:
    return history_record({**row, "_step": json.dumps(step)}, step)
