"""Which run do MLflow's own calls get in a step, and what of them is captured?

All of MLflow's ways to write, fluent, client, autologging and its queues, end in a store's methods
and in the client of artifacts. While runs are active the stores that are used are of a class that
looks at what passes: the first run that a step's code makes is the step's own, later ones hang
below it as children, and what is logged to the step's run goes to its journal, too.
This file is imported after MLflow only.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import lru_cache, partial, wraps
from inspect import signature
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import attrs
from mlflow.entities import Run as MlflowRun, RunStatus, RunTag
from mlflow.store.entities import PagedList
from mlflow.tracking import MlflowClient, fluent
from mlflow.tracking._tracking_service import utils
from mlflow.tracking._tracking_service.client import TrackingServiceClient
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
)
from mlflow.utils.name_utils import _generate_random_name

from trackyard.contract import (
    Artifact,
    Capture,
    Metric,
    Param,
    Record,
    Tag,
    is_inside_hook,
    own_copy,
    process_values,
    standing_in,
    step_of_caller,
)
from trackyard_mlflow.captured_files import files_of, files_of_model, image_of
from trackyard_mlflow.foreign import dataset_of

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import DatasetInput

logger = logging.getLogger("trackyard")

# Tags that MLflow sets itself, or that Trackyard does: no other tracker has a use for them.
_OWN_TAGS = ("mlflow.", "trackyard.")
# Those of MLflow's that hold what the code calls its run.
_LABELS = {MLFLOW_RUN_NAME: "mlflow.name", MLFLOW_RUN_NOTE: "mlflow.note"}


@attrs.define(eq=False)
class Step:
    """A run of Trackyard's that is active, as MLflow's calls meet it.

    Attributes:
        run: MLflow's own object of its run.
        tracking_uri: Where it is.
        strays: Takes the addresses of other places where the code makes runs.
        thread: That of the step.
        capture: Takes what is logged to it, or None.
        note_status: Called with the status under which the code ended it, such as `KILLED`.
        note_ids: Called with a run that the code made besides and a folder: notes there which it
            is.
        process: That of the step; children are forked from it.
        is_taken: The code has made a run, and got this one.
        children: Takes what is logged to the runs that it made besides, by MLflow's ids of them.
        has_told: A line has said that code logs to a child run which has ended.
    """

    run: MlflowRun
    tracking_uri: str
    strays: set[str]
    thread: int
    capture: Capture | None
    note_status: Callable[[str], None]
    note_ids: Callable[[MlflowRun, Path], None]
    process: int = attrs.field(factory=os.getpid)
    is_taken: bool = False
    children: dict[str, Capture] = attrs.field(factory=dict)
    has_told: bool = False

    @property
    def id(self) -> str:
        """MLflow's id of its run."""
        return str(self.run.info.run_id)


@attrs.frozen(eq=False)
class _Ended:
    """Takes what is logged to a child run that has ended: it stays in MLflow, which is told once.

    Attributes:
        run_id: MLflow's id of it.
        step: The run above it.
        above: Takes the step's records; runs below one that has ended are the step's.
    """

    run_id: str
    step: Step
    above: Capture

    def __call__(self, records: Sequence[Record], *_: Any, **__: Any) -> None:
        if records and not self.step.has_told:
            self.step.has_told = True
            logger.warning(
                "child run %s has ended: what code logs to such runs from here on stays in MLflow",
                self.run_id,
            )

    def start_run(
        self,
        name: str,
        adopt: Callable[[Path], object],
        tags: Mapping[str, str] | None = None,
    ) -> Capture | None:
        return self.above.start_run(name, adopt, tags)

    def end_run(self, *_: Any) -> None:
        """Leave the end as it is."""

    set_status = end_run


# What MLflow calls the ways in which a run ends.
_STATUSES: dict[str, Literal["finished", "failed", "killed"]] = {
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
}

_steps: list[Step] = []
_stores: list[Any] = []  # whose class is another one while steps are active
_lock = threading.RLock()
_inside = threading.local()

_get_store = utils._tracking_store_registry.get_store  # noqa: SLF001 - there is no public way
_start_run = own_copy(fluent.start_run)
_start_implicitly = own_copy(fluent._get_or_start_run)  # noqa: SLF001
_log_artifact = TrackingServiceClient.log_artifact
_log_artifacts = TrackingServiceClient.log_artifacts
_log_model_artifact = TrackingServiceClient.log_model_artifact
_log_model_artifacts = TrackingServiceClient.log_model_artifacts
_log_image = MlflowClient.log_image


@contextmanager
def seen(step: Step) -> Iterator[None]:
    """Look at what passes MLflow's stores while a step runs."""
    attributes = [
        (utils._tracking_store_registry, "get_store", get_store),  # noqa: SLF001
        *standing_in(fluent._get_or_start_run, get_or_start_run),  # noqa: SLF001
        *standing_in(fluent.start_run, start_run),
        (TrackingServiceClient, "log_artifact", log_artifact),
        (TrackingServiceClient, "log_artifacts", log_artifacts),
        (TrackingServiceClient, "log_model_artifact", log_model_artifact),
        (TrackingServiceClient, "log_model_artifacts", log_model_artifacts),
        (MlflowClient, "log_image", log_image),
    ]
    with ExitStack() as held:
        held.enter_context(process_values({}, attributes))
        held.callback(_leave, step)
        _steps.append(step)
        yield


def is_of_step(run_id: str) -> bool:
    """Tell whether a run of MLflow's is that of an active step."""
    return any(step.id == run_id for step in _steps)


def _leave(step: Step) -> None:
    with _lock:
        _steps.remove(step)
        if not _steps:
            while _stores:
                store = _stores.pop()
                store.__class__ = type(store).__mro__[1]
                store._async_logging_queue._logging_func = store.log_batch  # noqa: SLF001


def get_store(store_uri: Any = None, artifact_uri: Any = None) -> Any:
    """Give MLflow's store, of the class that looks at what passes.

    Args:
        store_uri: As MLflow has it.
        artifact_uri: Likewise.
    """
    store = _get_store(store_uri, artifact_uri)
    uri = utils._resolve_tracking_uri(store_uri)  # noqa: SLF001
    with _lock:
        if _steps and not any(one is store for one in _stores):
            is_own = any(step.tracking_uri == uri for step in _steps)
            cls: Any = type(store)
            store.__class__ = _seeing(cls) if is_own else _straying(cls, uri)
            # It was bound to the method of the class before.
            store._async_logging_queue._logging_func = store.log_batch  # noqa: SLF001
            _stores.append(store)
    return store


def start_run(run_id: str | None = None, *others: Any, **keywords: Any) -> mlflow.ActiveRun:
    """Start a run as MLflow does; a nested one is below the step's run where no other is active.

    Args:
        run_id: MLflow's id of a run to continue, or None.
        *others: As `mlflow.start_run` has them.
        **keywords: Likewise.
    """
    step = step_of_caller(_steps, in_forks=True)
    if run_id is not None:
        # Its experiment may be another one than the step's, which MLflow takes for a mistake.
        state: Any = vars(fluent)
        experiment, state["_active_experiment_id"] = state["_active_experiment_id"], None
        try:
            return _start_run(run_id, *others, **keywords)
        finally:
            state["_active_experiment_id"] = experiment
    is_active = bool(fluent._active_run_stack.get())  # noqa: SLF001 - there is no public way
    if step is not None and keywords.get("nested") and not is_active:
        keywords["tags"] = {**(keywords.get("tags") or {}), MLFLOW_PARENT_RUN_ID: step.id}
    return _start_run(run_id, *others, **keywords)


def get_or_start_run() -> Any:
    """Give the run for a call without one: in a thread or forked child of the step, the step's."""
    step = step_of_caller(_steps, in_forks=True)
    has_own = bool(fluent._active_run_stack.get())  # noqa: SLF001
    is_elsewhere = step is not None and (
        step.thread != threading.get_ident() or step.process != os.getpid()
    )
    if step is not None and is_elsewhere and not has_own:
        return step.run
    return _start_implicitly()


def log_artifact(self: Any, run_id: str, local_path: Any, artifact_path: str | None = None) -> None:
    """Log a file or folder as MLflow does, and capture it.

    Args:
        self: The client.
        run_id: MLflow's id of the run.
        local_path: The file or folder.
        artifact_path: The folder in the run's artifacts.
    """
    with _depth() as is_first:
        _log_artifact(self, run_id, local_path, artifact_path)
    if is_first:
        path = Path(local_path)
        folder = PurePosixPath(artifact_path or "")
        _keep_files(run_id, path, folder / path.name)


def log_artifacts(self: Any, run_id: str, local_dir: Any, artifact_path: str | None = None) -> None:
    """Log the files of a folder as MLflow does, and capture them.

    Args:
        self: The client.
        run_id: MLflow's id of the run.
        local_dir: The folder.
        artifact_path: The folder in the run's artifacts.
    """
    with _depth() as is_first:
        _log_artifacts(self, run_id, local_dir, artifact_path)
    if is_first:
        _keep_files(run_id, Path(local_dir), PurePosixPath(artifact_path or ""))


def log_model_artifact(
    self: Any, model_id: str, local_path: Any, artifact_path: str | None = None
) -> None:
    """Log a file of a model as MLflow does, and capture it.

    Args:
        self: The client.
        model_id: MLflow's id of the model.
        local_path: The file.
        artifact_path: The folder in the model.
    """
    with _depth() as is_first:
        _log_model_artifact(self, model_id, local_path, artifact_path)
    if is_first:
        _keep_model(self, model_id, Path(local_path), artifact_path)


def log_model_artifacts(
    self: Any, model_id: str, local_dir: Any, artifact_path: str | None = None
) -> None:
    """Log a model, or a folder of one, as MLflow does, and capture it.

    Args:
        self: The client.
        model_id: MLflow's id of the model.
        local_dir: The folder with its files.
        artifact_path: The folder in the model.
    """
    with _depth() as is_first:
        _log_model_artifacts(self, model_id, local_dir, artifact_path)
    if is_first:
        _keep_model(self, model_id, Path(local_dir), artifact_path)


def log_image(self: Any, *arguments: Any, **keywords: Any) -> None:
    """Log an image as MLflow does; one of a series is captured as it was given.

    MLflow makes two files of it, in a queue, whose names say step and time.

    Args:
        self: The client.
        *arguments: As MLflow has them.
        **keywords: Likewise.
    """
    given = signature(_log_image).bind(self, *arguments, **keywords).arguments
    with _depth() if given.get("key") is not None else nullcontext(False) as is_first:
        _log_image(self, *arguments, **keywords)
    capture = _capture_of(given["run_id"]) if is_first else None
    if capture is not None:
        with TemporaryDirectory() as folder:
            series = given["key"], given.get("step"), given.get("timestamp")
            capture([image_of(given["image"], *series, Path(folder))], "", given["run_id"])


def _keep_files(run_id: str, path: Path, name: PurePosixPath) -> None:
    capture = _capture_of(run_id)
    if capture is not None and (records := files_of(path, name)):
        capture(records, "", run_id)


def _keep_model(client: Any, model_id: str, path: Path, place: str | None) -> None:
    if is_inside_hook() or not _steps:
        return
    try:
        model = client.get_logged_model(model_id)
    except Exception as error:  # it was logged: whatever is wrong now is no fault of the code's
        logger.warning("model %s is not captured: %s", model_id, error)
        return
    step = step_of_caller(_steps, in_forks=True) if model.source_run_id is None else None
    run_id = step.id if step else model.source_run_id
    capture = _capture_of(run_id)
    if capture is not None:
        with TemporaryDirectory() as folder:
            capture(files_of_model(model, path, place, Path(folder)), "", run_id)


@lru_cache
def _seeing(cls: type[Any]) -> type[Any]:
    """Make a class of a store that looks at what passes, under the same name."""
    names = ("log_metric", "log_param", "set_tag", "log_batch")
    methods = {name: _kept(getattr(cls, name), _RECORDS[name]) for name in names}
    special = {
        "create_run": _creating(cls.create_run),
        "update_run_info": _updating(cls.update_run_info),
        "search_runs": _searching(cls.search_runs),
        "log_inputs": _keeping_inputs(cls.log_inputs),
    }
    namespace = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls,), {**methods, **special, **namespace})


@lru_cache
def _straying(cls: type[Any], uri: str) -> type[Any]:
    """Make a class of a store elsewhere that notes where runs are made, under the same name."""

    @wraps(cls.create_run)
    def create_run(self: Any, *arguments: Any, **keywords: Any) -> MlflowRun:
        run = cls.create_run(self, *arguments, **keywords)
        step = step_of_caller(_steps, in_forks=True)
        if step is not None:
            step.strays.add(uri)
        return run

    namespace = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls,), {"create_run": create_run, **namespace})


def _searching(original: Any) -> Any:
    """Make `search_runs` find what it finds alone: runs of pipelines are none of the code's."""

    @wraps(original)
    def search_runs(self: Any, *arguments: Any, **keywords: Any) -> Any:
        found = original(self, *arguments, **keywords)
        if is_inside_hook():
            return found
        kept, token = [run for run in found if not _is_of_pipeline(run)], found.token
        given = signature(original).bind(self, *arguments, **keywords).arguments
        while token and len(kept) < len(found):  # a page is as full as it is alone
            rest = {"max_results": len(found) - len(kept), "page_token": token}
            more = original(**{**given, **rest})
            kept += [run for run in more if not _is_of_pipeline(run)]
            token = more.token
        return PagedList(kept, token)

    return search_runs


def _is_of_pipeline(run: MlflowRun) -> bool:
    tags = run.data.tags
    return "trackyard.pipeline" in tags and "trackyard.step" not in tags


def _kept(original: Any, records_of: Callable[..., list[Record]]) -> Any:
    @wraps(original)
    def method(self: Any, run_id: str, *arguments: Any, **keywords: Any) -> Any:
        with _depth() as is_first:
            result = original(self, run_id, *arguments, **keywords)
        capture = _capture_of(run_id) if is_first else None
        if capture is not None:
            records = records_of(*arguments, **keywords)
            if records:
                capture(records, "", run_id)
        return result

    return method


def _keeping_inputs(original: Any) -> Any:
    """Make `log_inputs` capture datasets; which models a run has used stays MLflow's."""

    @wraps(original)
    def log_inputs(self: Any, *arguments: Any, **keywords: Any) -> Any:
        with _depth() as is_first:
            result = original(self, *arguments, **keywords)
        given = signature(original).bind(self, *arguments, **keywords).arguments
        capture = _capture_of(given["run_id"]) if is_first else None
        if capture is not None and given.get("datasets"):
            with TemporaryDirectory() as folder:
                records = [_dataset(one, Path(folder)) for one in given["datasets"]]
                capture(records, "", given["run_id"])
        return result

    return log_inputs


def _dataset(given: DatasetInput, folder: Path) -> Artifact:
    contexts = (tag.value for tag in given.tags or () if tag.key == MLFLOW_DATASET_CONTEXT)
    return dataset_of(dict(given.dataset), next(contexts, None), folder)


def _creating(original: Any) -> Any:
    """Make `create_run` give the step's run to whoever asks first, and children to the others."""

    @wraps(original)
    def create_run(  # noqa: PLR0917 - MLflow calls it by these names
        self: Any, experiment_id: str, user_id: str, start_time: int, tags: Any, run_name: Any
    ) -> MlflowRun:
        tags = list(tags or ())
        parent = next((tag.value for tag in tags if tag.key == MLFLOW_PARENT_RUN_ID), None)
        if parent is None:
            step = step_of_caller(_steps, in_forks=True)
        else:
            step = None if is_inside_hook() else _step_of(parent)
        if step is None:
            return original(self, experiment_id, user_id, start_time, tags, run_name)
        with _lock:
            is_first = parent is None and not step.is_taken
            step.is_taken = True if parent is None else step.is_taken
        if is_first:
            is_named = run_name or any(tag.key == MLFLOW_RUN_NAME for tag in tags)
            if hasattr(self, "db_uri") and not is_named:
                # A database's store makes a name by `random`, on which seeded code counts.
                _generate_random_name()
            self.log_batch(step.id, [], [], tags)  # with its name, where the call gave one
            return self.get_run(step.id)
        if parent is None:
            tags.append(RunTag(MLFLOW_PARENT_RUN_ID, step.id))
        run = original(self, experiment_id, user_id, start_time, tags, run_name)
        _follow(step, parent or step.id, run)
        return run

    return create_run


def _follow(step: Step, parent: str, run: MlflowRun) -> None:
    """Have a run that the code made besides become a child run, with all that it logs."""
    capture = step.capture if parent == step.id else step.children.get(parent)
    if capture is not None:
        given = (RunTag(*each) for each in run.data.tags.items() if each[0] != MLFLOW_RUN_NAME)
        tags = {tag.key: tag.value for tag in _of_tags([*given])}
        child = capture.start_run(run.info.run_name, partial(step.note_ids, run), tags)
        if child is not None:
            step.children[run.info.run_id] = child


def _note_end(step: Step, run_id: str, status: str) -> None:
    word = _STATUSES.get(status)
    if step.id == run_id:
        step.note_status(status)
        if step.capture is not None and word in ("failed", "killed"):
            step.capture.set_status(word)
    elif word is not None and step.capture is not None and run_id in step.children:
        step.children[run_id].end_run(word)
        step.children[run_id] = _Ended(run_id, step, step.capture)


def _updating(original: Any) -> Any:
    """Note under which status the code has ended the step's run."""

    @wraps(original)
    def update_run_info(
        self: Any, run_id: str, run_status: Any, end_time: Any, run_name: Any
    ) -> Any:
        result = original(self, run_id, run_status, end_time, run_name)
        if not is_inside_hook():
            for step in _steps:
                if run_status is not None:
                    _note_end(step, run_id, RunStatus.to_string(run_status))
        return result

    return update_run_info


def _step_of(run_id: str) -> Step | None:
    """Give the step that a run of MLflow's belongs to."""
    return next((step for step in _steps if step.id == run_id or run_id in step.children), None)


def _capture_of(run_id: str) -> Capture | None:
    step = None if is_inside_hook() else _step_of(run_id)
    if step is None:
        return None
    return step.capture if step.id == run_id else step.children.get(run_id)


@contextmanager
def _depth() -> Iterator[bool]:
    """Tell whether a call is the outermost: some write by others."""
    depth = getattr(_inside, "depth", 0)
    _inside.depth = depth + 1
    try:
        yield depth == 0
    finally:
        _inside.depth = depth


def _metric(metric: Any) -> Metric:
    return Metric(metric.key, float(metric.value), metric.step, metric.timestamp * 1_000_000)


def _of_tags(tags: Sequence[Any]) -> list[Tag]:
    named = [(_LABELS.get(tag.key, tag.key), tag) for tag in tags]
    return [
        Tag(key, str(tag.value))
        for key, tag in named
        if key != tag.key or not key.startswith(_OWN_TAGS)
    ]


def _of_batch(metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]) -> list[Record]:
    return [
        *(Param(param.key, str(param.value)) for param in params),
        *_of_tags(tags),
        *map(_metric, metrics),
    ]


_RECORDS: dict[str, Callable[..., list[Record]]] = {
    "log_metric": lambda metric: [_metric(metric)],
    "log_param": lambda param: [Param(param.key, str(param.value))],
    "set_tag": lambda tag: [*_of_tags([tag])],
    "log_batch": _of_batch,
}
