"""How do MLflow's own calls land in a run, and where, while its server cannot be reached?"""

from __future__ import annotations

import copy
import fcntl
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any

from trackyard.contract import (
    KEEP,
    Capture,
    RetryLater,
    Run,
    after_import,
    process_values,
    replacing,
    write_whole,
)
from trackyard_mlflow.backend import (
    PATIENCE,
    ids_of,
    read_ids,
    write_ids,
)
from trackyard_mlflow.stores import new_client, sqlite_uri
from trackyard_mlflow.strays import told

if TYPE_CHECKING:
    from mlflow import ActiveRun, MlflowClient
    from mlflow.entities import Run as MlflowRun

    from trackyard_mlflow.first_runs import Step

logger = logging.getLogger("trackyard")

_STATUS = "mlflow-status"
# How much of the time that a start may take it is waited for by MLflow's first call.
_SHARE = 0.8
# Of a child run: where the store is that has it meanwhile, and MLflow's id of it there.
_LOCAL = "mlflow-local.json"


# Those of the steps that are active, each as often as it has one.
_threads: list[int] = []


def activated(
    run: Run,
    capture: Capture | None,
    tracking_uri: str,
    environment: Mapping[str, Any],
    home: Path,
    *,
    is_starting: bool,
) -> AbstractContextManager[ActiveRun | None]:
    """Give MLflow's own calls in a block the run: there, or where it is on its way to.

    Args:
        run: The run.
        capture: Takes what the calls log, or None.
        tracking_uri: The backend.
        environment: Credentials.
        home: Where an empty store is kept, for the local target of a late start.
        is_starting: Whether the start is under way.
    """
    forget_earlier_status(run)
    ids = read_ids(run.folder)  # it may have been started in another process
    place = run.folder, capture
    if ids:
        return active_run(tracking_uri, lambda: (tracking_uri, ids), environment, *place)
    if not is_starting:
        local = local_uri(run.folder)
        return active_run(local, lambda: (local, ids_of(local_run(run, home))), {}, *place)
    if get_ident() in _threads:  # a thread's calls cannot be told apart: its first run has them
        return nullcontext()
    return active_run(tracking_uri, partial(_started, tracking_uri, run, home), environment, *place)


@contextmanager
def active_run(
    tracking_uri: str,
    find_place: Callable[[], tuple[str, Mapping[str, str]]],
    environment: Mapping[str, Any],
    folder: Path,
    capture: Capture | None,
) -> Iterator[ActiveRun | None]:
    """Give MLflow's own calls in a block the run, whether or not the step uses MLflow.

    Where nothing has imported MLflow yet, that waits for the step to do so: importing it here
    would cost each process two seconds.

    Args:
        tracking_uri: The backend.
        find_place: Gives the backend that has the run, and what `ids_of` gives of it; called when
            MLflow is there.
        environment: Credentials.
        folder: The tracker's folder of the run.
        capture: Takes what the calls log, or None.
    """
    values = {**environment, "MLFLOW_TRACKING_URI": tracking_uri}
    with ExitStack() as held:
        strays = held.enter_context(told(tracking_uri))
        held.enter_context(process_values(values, patience=PATIENCE))
        thread = get_ident()
        _threads.append(thread)
        held.callback(_threads.remove, thread)

        def enter() -> ActiveRun:
            from trackyard_mlflow.first_runs import Step

            uri, ids = find_place()
            note_status = partial(_note_status, folder)
            # The server makes the children of a run that is on sqlite meanwhile.
            is_local = uri == local_uri(folder)
            note_ids = partial(_note_local, folder) if is_local else _adopt
            place = _entity(ids), uri, strays, thread
            step = Step(*place, capture, note_status, note_ids)
            return _enter(held, uri, ids["experiment_id"], step)

        if "mlflow" in sys.modules:
            yield enter()
        else:
            held.enter_context(after_import("mlflow", enter))
            yield None


def _enter(held: ExitStack, tracking_uri: str, experiment_id: str, step: Step) -> ActiveRun:
    """Have the first run that the step's code makes be this one.

    Nothing is on MLflow's stack of active runs before, as nothing is where a script begins.
    """
    import mlflow
    from mlflow.tracking import fluent
    from mlflow.tracking._tracking_service import utils

    from trackyard_mlflow import first_runs, places

    is_local = tracking_uri.endswith("/native.db")
    if is_local:  # nobody else's traces go there, before or afterwards
        held.callback(_renew_tracing)
    held.enter_context(process_values({}, [(utils, "_tracking_uri", tracking_uri)], PATIENCE))
    if is_local:
        _renew_tracing()
    with suppress(RetryLater):  # other runs go to that of a run that overlaps this one
        experiment = [(fluent, "_active_experiment_id", experiment_id)]
        held.enter_context(process_values({}, experiment))
    held.enter_context(_own_autologging())
    held.enter_context(first_runs.seen(step))
    held.enter_context(places.kept(tracking_uri, experiment_id))
    held.callback(_flush_traces)  # a thread of MLflow's sends them to where it finds itself
    stacks = fluent._active_run_stack  # noqa: SLF001 - there is no public way
    if step.thread == get_ident():
        before = list(stacks.get())
        stacks.get().clear()  # a run of the user's around the block
        held.callback(_leave_stack, before)
    else:
        held.callback(_leave_stack, [])
    return mlflow.ActiveRun(step.run)


def variables_for(
    folder: Path, tracking_uri: str, environment: Mapping[str, Any]
) -> dict[str, str]:
    """Give MLflow's variables by which a program without Trackyard logs into a run.

    Args:
        folder: The tracker's folder of the run.
        tracking_uri: The backend.
        environment: Credentials.
    """
    ids = read_ids(folder)
    if not ids:
        return {}
    values = {name: text for name, text in environment.items() if text and text is not KEEP}
    return {**values, "MLFLOW_TRACKING_URI": tracking_uri, "MLFLOW_RUN_ID": ids["run_id"]}


def _leave_stack(before: list[Any]) -> None:
    """End what the step's code has left open, but for the step's run, which ends with the step."""
    import mlflow
    from mlflow.tracking import fluent

    from trackyard_mlflow import first_runs

    stack = fluent._active_run_stack.get()  # noqa: SLF001
    while stack:
        if first_runs.is_of_step(stack[-1].info.run_id):
            stack.pop()
        else:
            mlflow.end_run()
    stack.extend(before)


def _flush_traces() -> None:
    """Wait until MLflow has written the traces of the step's code."""
    import mlflow

    try:
        mlflow.flush_trace_async_logging()
    except Exception as error:  # whatever a tracer of the code's own raises
        logger.debug("MLflow's traces cannot be flushed: %s", error)


def _renew_tracing() -> None:
    """Have MLflow look anew where traces go, as `mlflow.set_tracking_uri` does."""
    from mlflow.tracing import provider

    if provider.is_tracing_enabled():
        provider.reset()


def _adopt(run: MlflowRun, folder: Path) -> None:
    """Note which run of MLflow's a child run is."""
    write_ids(folder, {**ids_of(run), "is_adopted": "yes"})


def _note_local(store: Path, run: MlflowRun, folder: Path) -> None:
    """Note which run of the store in another folder moves to the real one as this child run."""
    from trackyard_mlflow.moving import note_followed

    place = os.path.relpath(store, folder)  # a project may be moved
    write_whole(folder / _LOCAL, json.dumps({"folder": place, "run_id": run.info.run_id}))
    note_followed(store, run.info.run_id)


def _note_status(folder: Path, status: str) -> None:
    """Keep under which status the step's code has ended the run."""
    try:
        write_whole(folder / _STATUS, status)
    except OSError as error:
        logger.debug("%s cannot be written: %s", folder / _STATUS, error)


def status_of(folder: Path) -> str | None:
    """Give the status under which the step's code has ended the run, such as `KILLED`, if it has.

    Args:
        folder: The tracker's folder of the run.
    """
    try:
        status = (folder / _STATUS).read_text(encoding="utf-8")
    except OSError:
        return None
    return status if status in ("FINISHED", "FAILED", "KILLED") else None


def forget_earlier_status(run: Run) -> None:
    """Forget the status under which the code has ended a run that was resumed since."""
    if run.resumed:
        with suppress(OSError):
            (run.folder / _STATUS).unlink(missing_ok=True)


def _entity(ids: Mapping[str, str]) -> MlflowRun:
    """Make MLflow's object for a run without asking the backend."""
    from mlflow.entities import Run as MlflowRun, RunData, RunInfo

    info = RunInfo(
        run_id=ids["run_id"],
        experiment_id=ids["experiment_id"],
        artifact_uri=ids["artifact_uri"],
        user_id="",
        status="RUNNING",
        start_time=time.time_ns() // 1_000_000,
        end_time=None,
        lifecycle_stage="active",
    )
    return MlflowRun(info, RunData())


# What was on before the first of the runs that are active now; an entry for each of them.
_before: list[tuple[dict[str, Any], dict[str, list[Any]]]] = []
_lock = Lock()


@contextmanager
def _own_autologging() -> Iterator[None]:
    """Switch off afterwards what `mlflow.autolog()` switched on, so that it meets no other step.

    It also waits for libraries that are not imported yet. All of it belongs to the whole process:
    where runs overlap, the last of them gives it back.
    """
    from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS as SETTINGS
    from mlflow.utils.import_hooks import _post_import_hooks as hooks

    with _lock:
        waiting = {library: list(found) for library, found in hooks.items() if found}
        _before.append(_before[0] if _before else (copy.deepcopy(dict(SETTINGS)), waiting))
    try:
        yield
    finally:
        with _lock:
            settings, waiting = _before.pop()
            if not _before:
                SETTINGS.clear()
                SETTINGS.update(settings)
                for library in [library for library, found in hooks.items() if found]:
                    del hooks[library]
                hooks.update(waiting)


def local_uri(folder: Path) -> str:
    """Give the address of the local target in a run's folder."""
    return sqlite_uri(folder / "native.db")


def local_run(run: Run, home: Path) -> MlflowRun:
    """Make or find the run on sqlite in a run's folder that takes native calls meanwhile.

    It has the same name: what is merged later holds it as a tag.

    Args:
        run: The run.
        home: Where an empty store is kept, to be copied: MLflow needs seconds to make one.
    """
    path = run.folder / "native.db"
    with (run.folder / "native.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _make_store(path, home)
        client = new_client(local_uri(run.folder))
        experiment = client.get_experiment_by_name("native")
        if experiment is None:
            location = (run.folder / "native-artifacts").as_uri()
            experiment_id = client.create_experiment("native", artifact_location=location)
        else:
            experiment_id = experiment.experiment_id
        # The oldest: others are nested runs, which the step itself made.
        found = client.search_runs([experiment_id], order_by=["attributes.start_time ASC"])
        return found[0] if found else client.create_run(experiment_id, run_name=run.name)


def _started(tracking_uri: str, run: Run, home: Path) -> tuple[str, Mapping[str, str]]:
    """Wait for a start that is under way; give where the run is, and what `ids_of` gives."""
    give_up_at = time.monotonic() + _SHARE * run.deadline
    while time.monotonic() < give_up_at:
        if ids := read_ids(run.folder):
            return tracking_uri, ids
        time.sleep(0.02)
    return local_uri(run.folder), ids_of(local_run(run, home))


def has_local_run(folder: Path) -> bool:
    """Tell whether something of a run is in a local store, in its folder or in its parent's."""
    return (folder / "native.db").is_file() or (folder / _LOCAL).is_file()


def move_local_run(run: Run, home: Path, client: MlflowClient, run_id: str) -> None:
    """Send what native calls wrote into the local run; sending it again changes nothing.

    Args:
        run: The run.
        home: Where this process keeps local runs.
        client: A client of the store.
        run_id: MLflow's id of the run there.

    Raises:
        RetryLater: MLflow did not take all of it.
    """
    from trackyard_mlflow import moving

    try:
        note = json.loads((run.folder / _LOCAL).read_text(encoding="utf-8"))
        folder, old = (run.folder / note["folder"]).resolve(), note["run_id"]
        first = _first_run(folder)
    except FileNotFoundError:
        folder, old = run.folder, local_run(run, home).info.run_id
        first = old
    target = run_id if first == old else read_ids(folder).get("run_id", "")
    with moving.only_one(folder):
        ledger = moving.Ledger.read(folder, target)
        source = new_client(local_uri(folder))
        moving.Move(folder, source, client, first, old, run_id, ledger).all()


def _first_run(folder: Path) -> str:
    """Give the id of the oldest run of a local store: others are those that the step's code made.

    Raises:
        RetryLater: The store is gone.
    """
    if not (folder / "native.db").is_file():
        raise RetryLater(f"{folder / 'native.db'} is gone, which holds what is not sent yet")
    client = new_client(local_uri(folder))
    experiment = client.get_experiment_by_name("native")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return str(found[0].info.run_id)


def _make_store(path: Path, home: Path) -> None:
    """Copy an empty store to where it appears whole or not at all."""
    from mlflow import __version__

    empty = home / f"mlflow-{__version__}-empty.db"
    if not empty.exists():
        with replacing(empty) as part:
            new_client(sqlite_uri(part))
    with replacing(path) as part:
        shutil.copyfile(empty, part)
