"""How does what native calls left in a store in a run's folder reach MLflow's real store?

Runs, logged models and versions get new ids there, which nobody can choose. So each of them bears
the old one as a tag, and a ledger beside the store says what became of what: who moves a second
time, after a crash or in vain, changes nothing. Each child run moves its own part, as its own
delivery comes to it; the run whose folder it is moves the rest. This file is imported after MLflow
only.
"""

from __future__ import annotations

import fcntl
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import attrs
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric, Run as MlflowRun, Trace
from mlflow.entities.trace_location import TraceLocation
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from trackyard.contract import (
    Artifact,
    Metric as Point,
    Param,
    Record,
    RetryLater,
    RunDeleted,
    Tag,
    write_whole,
)
from trackyard_mlflow.backend import is_elsewhere, meaning_of, send_what_is_taken
from trackyard_mlflow.kinds import MOVED_FROM
from trackyard_mlflow.reading import artifact_names, read_records

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# The old id of what was moved, as a tag of it.
_LEDGER = "native-moved.json"
# From here `trackyard runs show` has what it says of ids.
_MOVED = "moved.json"
# Which runs of the store move their own parts.
_FOLLOWED = "native-followed"
# MLflow writes it again as soon as a version of the model is registered.
_VERSIONS = "mlflow.modelVersions"
_MOST_METRICS = 1000  # of one call


def note_followed(folder: Path, run_id: str) -> None:
    """Note that a run in a store moves its own part.

    Args:
        folder: Where the store is.
        run_id: MLflow's id of the run in it.
    """
    with (folder / _FOLLOWED).open("a", encoding="utf-8") as file:
        file.write(f"{run_id}\n")


@attrs.define
class Ledger:
    """What of a local store became what in the real one.

    Attributes:
        target: The run of the real store that the store's first run became; the rest is forgotten
            where it is another one, since that was made anew.
        runs: New ids by old ones.
        models: Likewise.
        versions: The number of a version, by its model's name and number, as in `fraud/1`.
        done: What else was moved.
    """

    target: str
    runs: dict[str, str] = attrs.field(factory=dict)
    models: dict[str, str] = attrs.field(factory=dict)
    versions: dict[str, str] = attrs.field(factory=dict)
    done: list[str] = attrs.field(factory=list)

    @classmethod
    def read(cls, folder: Path, target: str) -> Ledger:
        """Read it, or begin one.

        Args:
            folder: Where the store is.
            target: The run that the store's first run is now.
        """
        try:
            values = json.loads((folder / _LEDGER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return cls(target)
        return cls(**values) if values["target"] == target else cls(target)

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all, and for people which id became which."""
        write_whole(folder / _LEDGER, json.dumps(attrs.asdict(self)))
        ids = {f"run {old}": new for old, new in self.runs.items()}
        ids |= {f"model {old}": new for old, new in self.models.items()}
        for old, new in self.versions.items():
            if not old.endswith(f"/{new}"):
                ids[f"version {old}"] = new
        write_whole(folder / _MOVED, json.dumps(ids))


@attrs.define
class Move:
    """What one run moves of a store in a folder.

    Attributes:
        folder: Where the store is.
        source: A client of it.
        target: A client of the real store.
        first: The id of the store's first run there, whose folder it is.
        old: The id of the run that moves.
        new: Its id in the real store.
        ledger: What is moved already.
        left: What MLflow did not take, and why.
    """

    folder: Path
    source: MlflowClient
    target: MlflowClient
    first: str
    old: str
    new: str
    ledger: Ledger
    left: list[str] = attrs.field(factory=list)
    _experiment: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._experiment = self.target.get_run(self.new).info.experiment_id

    def all(self) -> None:
        """Move everything of the run, and of those that nobody else moves where it is the first.

        Raises:
            RetryLater: MLflow did not take all of it.
        """
        self._note(self.ledger.runs, self.old, self.new)
        if self.old == self.first:
            self._make_others()
        for old in self._own_runs():
            self._move_run(old)
        self._move_versions()
        self._move_traces()
        absent = len(self._absent()) if self.old == self.first else 0
        if absent:  # its folder may not go before they are there
            self.left.append(f"{absent} child run{'s' * (absent > 1)}")
        if self.left:
            raise RetryLater(
                f"MLflow lacks {'; '.join(self.left)}: kept in {self.folder / 'native.db'}"
            )

    def _own_runs(self) -> list[str]:
        """Give the old ids of the runs whose parts are moved here."""
        return list(self.ledger.runs) if self.old == self.first else [self.old]

    def _absent(self) -> set[str]:
        """Give the runs that move their own parts, and have not begun to."""
        try:
            followed = set((self.folder / _FOLLOWED).read_text(encoding="utf-8").split())
        except FileNotFoundError:
            return set()
        return followed - self.ledger.runs.keys()

    def _is_own(self, run_id: str | None) -> bool:
        """Tell whether something of a run, or of none, is moved here.

        The first run also moves what came into the others after their ends, such as a trace.
        """
        return run_id == self.old or (self.old == self.first and run_id not in self._absent())

    def _note(self, names: dict[str, str], old: str, new: str) -> None:
        if names.get(old) != new:
            names[old] = new
            self.ledger.write(self.folder)

    @contextmanager
    def _piece(self, what: str) -> Iterator[None]:
        """Go on with the next piece where MLflow refuses one: what is left is told at the end."""
        try:
            yield
        except RunDeleted:
            raise
        except Exception as error:
            answer = meaning_of(error)
            if answer is not None and answer.verdict not in ("refused", "deleted"):
                raise  # an outage, which the next one would meet, too
            reason = str(error).partition("\n")[0][:200]
            self.left.append(f"{what} ({reason or type(error).__name__})")

    def _once(self, what: str, move: Callable[[], object]) -> None:
        if what not in self.ledger.done:
            with self._piece(what):
                move()
                self.ledger.done.append(what)
                self.ledger.write(self.folder)

    def _experiments(self) -> list[str]:
        return [one.experiment_id for one in self.source.search_experiments()]

    def _mapped(self, text: str) -> str:
        """Write new ids for old ones in a text."""
        for old, new in (*self.ledger.runs.items(), *self.ledger.models.items()):
            text = text.replace(old, new)
        return text

    def _make_others(self) -> None:
        """Make the runs that are no child runs of Trackyard's, since nothing was captured."""
        found = self.source.search_runs(
            self._experiments(), order_by=["attributes.start_time ASC"], max_results=10_000
        )
        for run in found:
            old = run.info.run_id
            if self._is_own(old) and old not in self.ledger.runs:
                with self._piece(f"run {run.info.run_name!r}"):
                    self.ledger.done.append(f"made {old}")
                    self._note(self.ledger.runs, old, self._made(run))

    def _made(self, run: MlflowRun) -> str:
        old = run.info.run_id
        filter_ = f"tags.`{MOVED_FROM}` = '{old}'"
        found = self.target.search_runs([self._experiment], filter_)
        if found:
            return str(found[0].info.run_id)
        parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID, "")
        tags = {MLFLOW_PARENT_RUN_ID: self.ledger.runs.get(parent, self.new), MOVED_FROM: old}
        start, name = run.info.start_time, run.info.run_name
        made = self.target.create_run(self._experiment, start, tags, name)
        return str(made.info.run_id)

    def _move_run(self, old: str) -> None:
        run, new = self.source.get_run(old), self.ledger.runs[old]
        name = f"of run {run.info.run_name!r}"
        if run.info.lifecycle_stage == "deleted":
            with self._piece(f"the deletion {name}"):
                self._delete(new)
            return
        inputs, outputs = run.inputs, run.outputs
        datasets = list(inputs.dataset_inputs) if inputs else []
        if datasets:
            self._once(
                f"datasets {name} {old}", lambda: self.target.log_inputs(new, datasets=datasets)
            )
        for model in self._models(old):
            self._move_model(model)
        for model in self._models(None):
            self._move_metrics(model, old)
        self._once(f"records {name} {old}", lambda: self._move_records(run, new))
        if outputs and outputs.model_outputs:
            made = outputs.model_outputs
            self._once(f"links to models {name} {old}", lambda: self._link(new, made))
        if inputs and inputs.model_inputs:
            used = [type(one)(self._model(one.model_id)) for one in inputs.model_inputs]
            self._once(
                f"models used {name} {old}", lambda: self.target.log_inputs(new, models=used)
            )
        if self._is_made_here(old):
            status = run.info.status if run.info.end_time else "KILLED"
            self._once(
                f"end {name} {old}",
                lambda: self.target.set_terminated(new, status, run.info.end_time),
            )

    def _delete(self, run_id: str) -> None:
        """Delete a run there, as the code has deleted it here: both can be restored."""
        if self.target.get_run(run_id).info.lifecycle_stage != "deleted":
            self.target.delete_run(run_id)

    def _is_made_here(self, old: str) -> bool:
        """Tell whether a run has no delivery of its own, which would end it."""
        return f"made {old}" in self.ledger.done

    def _move_records(self, run: MlflowRun, new: str) -> None:
        """Send what the run there lacks: asking is cheaper than sending it again."""
        there = self.target.get_run(new)
        files = set(artifact_names(self.target, new, None))
        points = {
            key: {(m.step, m.timestamp, m.value) for m in self.target.get_metric_history(new, key)}
            for key in run.data.metrics
            if key in there.data.metrics
        }
        rest: list[Record] = [Tag(MOVED_FROM, run.info.run_id)]
        for record in read_records(self.source, run.info.run_id):
            if isinstance(record, Tag):
                if record.key != MLFLOW_PARENT_RUN_ID:
                    rest.append(Tag(record.key, self._mapped(record.value)))
            elif isinstance(record, Param):
                if there.data.params.get(record.key) != record.value:
                    rest.append(record)
            elif isinstance(record, Artifact):
                if record.name not in files:
                    rest.append(record)
            elif isinstance(record, Point):
                point = record.step, record.timestamp // 1_000_000, record.value
                if point not in points.get(record.key, ()):
                    rest.append(record)
        send_what_is_taken(self.target, new, tuple(rest))

    def _models(self, run_id: str | None) -> list[LoggedModel]:
        where = f"source_run_id = '{run_id}'" if run_id else None
        return list(self.source.search_logged_models(self._experiments(), where))

    def _model(self, old: str) -> str:
        """Give the new id of a model.

        Raises:
            RetryLater: The run that made it has not moved it yet.
        """
        if old not in self.ledger.models:
            raise RetryLater(f"model {old} of another run is not there yet")
        return self.ledger.models[old]

    def _move_model(self, old: LoggedModel) -> None:
        if old.model_id in self.ledger.models:
            return
        with self._piece(f"model {old.name!r}"):
            new = self._begun(old)
            if is_elsewhere(self.target, new.artifact_location):
                place = new.artifact_location
                raise ValueError(f"the store keeps models elsewhere, in {place}")
            files = _path_of(old.artifact_location)
            if files.is_dir():
                self.target.log_model_artifacts(new.model_id, str(files))
                self._rewrite(files / "MLmodel", old.model_id, new.model_id)
            if str(old.status) != "PENDING":
                self.target.finalize_logged_model(new.model_id, str(old.status))
            self._note(self.ledger.models, old.model_id, new.model_id)

    def _begun(self, old: LoggedModel) -> LoggedModel:
        """Find the model that a try before this one has begun, or create it."""
        run_id = self.ledger.runs[old.source_run_id]
        where = f"source_run_id = '{run_id}'"
        for known in self.target.search_logged_models([self._experiment], where):
            if known.tags.get(MOVED_FROM) == old.model_id:
                self._complete(known, old)
                return known
        tags = {k: self._mapped(v) for k, v in old.tags.items() if k != _VERSIONS}
        return self.target.create_logged_model(
            self._experiment,
            old.name,
            source_run_id=run_id,
            tags={**tags, MOVED_FROM: old.model_id},
            params=old.params,
            model_type=old.model_type,
        )

    def _complete(self, known: LoggedModel, old: LoggedModel) -> None:
        """Say of a model what it lacks: it may be the one that the run's journal has sent."""
        params = {k: v for k, v in (old.params or {}).items() if k not in (known.params or {})}
        tags = {k: v for k, v in (old.tags or {}).items() if k not in known.tags}
        if params:
            self.target.log_model_params(known.model_id, params)
        if tags:
            self.target.set_logged_model_tags(known.model_id, tags)

    def _rewrite(self, file: Path, old: str, new: str) -> None:
        """Send the file that describes a model once more, with the new ids in it."""
        if not file.is_file():
            return
        text = self._mapped(file.read_text(encoding="utf-8")).replace(old, new)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / file.name).write_text(text, encoding="utf-8")
            self.target.log_model_artifacts(new, folder)

    def _move_metrics(self, model: LoggedModel, old_run: str) -> None:
        metrics = [one for one in model.metrics or [] if one.run_id == old_run]
        what = f"metrics of model {model.name!r} {model.model_id} {old_run}"
        if metrics and what not in self.ledger.done:
            self._once(what, lambda: self._send_metrics(model.model_id, old_run, metrics))

    def _send_metrics(self, model_id: str, old_run: str, metrics: list[Metric]) -> None:
        new = self._model(model_id)
        there = self.target.get_logged_model(new).metrics or []
        known = {(m.key, m.step, m.timestamp) for m in there}
        rest = [
            Metric(m.key, m.value, m.timestamp, m.step, new, m.dataset_name, m.dataset_digest)
            for m in metrics
            if (m.key, m.step, m.timestamp) not in known
        ]
        for start in range(0, len(rest), _MOST_METRICS):
            self.target.log_batch(self.ledger.runs[old_run], rest[start : start + _MOST_METRICS])

    def _link(self, run_id: str, outputs: list[LoggedModelOutput]) -> None:
        there = self.target.get_run(run_id).outputs
        known = {one.model_id for one in there.model_outputs} if there else set()
        rest = [LoggedModelOutput(self._model(one.model_id), one.step) for one in outputs]
        rest = [one for one in rest if one.model_id not in known]
        if rest:
            self.target.log_outputs(run_id, rest)

    def _move_versions(self) -> None:
        versions = self.source.search_model_versions(max_results=10_000)
        for version in sorted(versions, key=lambda one: (one.name, int(one.version))):
            what = f"{version.name}/{version.version}"
            if what not in self.ledger.versions and self._is_own(version.run_id or None):
                with self._piece(f"registered model {what}"):
                    self._note(self.ledger.versions, what, self._register(version))

    def _register(self, old: ModelVersion) -> str:
        registered = self.source.get_registered_model(old.name)
        try:
            self.target.create_registered_model(
                old.name, registered.tags, registered.description or None
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # The first run's id, since versions have none of their own.
        mark = f"{self.first}/{old.name}/{old.version}"
        name = old.name.replace("'", "''")
        known = self.target.search_model_versions(f"name = '{name}'")
        new = next((one for one in known if one.tags.get(MOVED_FROM) == mark), None)
        if new is None:
            source, model_id = self._source_of(old)
            new = self.target.create_model_version(
                old.name,
                source,
                run_id=self.ledger.runs.get(old.run_id),
                tags={**old.tags, MOVED_FROM: mark},
                description=old.description or None,
                model_id=model_id,
            )
        for alias, number in registered.aliases.items():
            if str(number) == str(old.version):
                self.target.set_registered_model_alias(old.name, alias, new.version)
        return str(new.version)

    def _source_of(self, version: ModelVersion) -> tuple[str, str | None]:
        """Give where the files of a version are now, and the logged model that it is."""
        # A database keeps no model's id of a version, only its place.
        places = {f"models:/{one.model_id}": one.model_id for one in self._models(None)}
        places |= {one.artifact_location: one.model_id for one in self._models(None)}
        old = version.model_id or places.get(str(version.source))
        if old:
            new = self._model(old)
            if self.target.tracking_uri.startswith(("http", "databricks")):
                return f"models:/{new}", new
            # A database would look for the model's name in the current store of the process.
            return self.target.get_logged_model(new).artifact_location, new
        place = self.source.get_run(version.run_id).info.artifact_uri if version.run_id else ""
        if not place or not str(version.source).startswith(place):
            raise ValueError(f"its files are in {version.source}")
        there = self.target.get_run(self.ledger.runs[version.run_id]).info.artifact_uri
        return there + str(version.source)[len(place) :], None

    def _move_traces(self) -> None:
        token = None
        while True:
            found = self.source.search_traces(
                locations=self._experiments(), page_token=token, max_results=100
            )
            for trace in found:
                run_id = trace.info.trace_metadata.get("mlflow.sourceRun")
                if self._is_own(run_id):
                    self._once(f"trace {trace.info.trace_id}", partial(self._trace, trace))
            token = found.token
            if not token:
                return

    def _trace(self, trace: Trace) -> None:
        """Send a trace, with its assessments; it keeps its id."""
        info = trace.info
        info.trace_location = TraceLocation.from_experiment_id(self._experiment)
        info.trace_metadata = {k: self._mapped(v) for k, v in info.trace_metadata.items()}
        places = ("mlflow.artifactLocation", "mlflow.trace.spansLocation")
        info.tags = {k: v for k, v in info.tags.items() if k not in places}
        for assessment in info.assessments:
            given: Mapping[str, str] = assessment.metadata or {}
            assessment.metadata = {k: self._mapped(str(v)) for k, v in given.items()} or None
        store: Any = self.target._tracking_client.store  # noqa: SLF001 - there is no public way
        store.start_trace(info)
        store.log_spans(self._experiment, trace.data.spans)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let one run at a time move its part of a store."""
    with (folder / "native-moving.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _path_of(uri: str) -> Path:
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else Path(uri)
