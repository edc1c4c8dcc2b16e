"""Which runs does a W&B server hold? They are read by W&B's own client, whole histories at a time.

Nothing is written there. Samples of a history are never taken for the history; what the server
gives only as samples is named where there may be more of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import (
    Artifact,
    Context,
    Dataset,
    Git,
    ImportNote,
    Metric,
    Record,
    RemoteRun,
    RetryLater,
    RunQuery,
    Tag,
    TrackyardError,
    inside,
)
from trackyard_wandb.artifacts import OF_WANDB, artifacts_of
from trackyard_wandb.capturing import artifact_of
from trackyard_wandb.records import OWN_FILES, REQUIREMENTS, labels_of, moment_of, params_of
from trackyard_wandb.rows import Piece, Rows, numbered
from trackyard_wandb.server import WandbServer

# Seconds for the first question, and for each of W&B's client.
_FIRST, _TIMEOUT = 10.0, 60
_ROWS_AT_ONCE = 5_000
# The server thins its record of the machine to so many rows.
_MOST_EVENTS = 100_000
_CONSOLE, _METADATA = "output.log", "wandb-metadata.json"
_STATUS: Mapping[str, Any] = {
    "finished": "finished",
    "failed": "failed",
    "crashed": "crashed",
    "killed": "killed",
    "preempted": "killed",
    "preempting": "running",
    "running": "running",
    "pending": "running",
}
_OF_SWEEPS: Mapping[str, Any] = {"FINISHED": "finished", "CANCELED": "killed", "FAILED": "failed"}


@attrs.define
class ServerRuns:
    """The runs of a project, or of an entity's projects.

    Attributes:
        url, key: The server.
        entity: Whose; None for the key's own.
        project: Its project; None for that of the query, else for all.
        run_id: The only run that is wanted, or None.
    """

    url: str
    key: str
    entity: str | None
    project: str | None
    run_id: str | None = None
    _client: Any = None

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs, and above them the sweeps that they are trials of.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: The server does not answer, refuses, or has no such project.
        """
        api, place = self._api(), "its projects"
        with self._errors(place):
            entity = self.entity or api.default_entity
            project = self.project or query.experiment
            projects = [project] if project else [found.name for found in api.projects(entity)]
        for name in projects:
            with self._errors(f"{entity}/{name}"):
                yield from self._of_project(f"{entity}/{name}", query)

    def read(self, remote_id: str, scratch: Path) -> Iterator[Piece]:
        """Read a run that was listed.

        Args:
            remote_id: Its id, with entity and project before it.
            scratch: Where files are downloaded to.

        Raises:
            TrackyardError: The server does not answer, or has it no more.
        """
        entity, project, *_, last = remote_id.split("/")
        with self._errors(remote_id):
            if remote_id.count("/") == 3:
                yield from _of_sweep(self._api().sweep(f"{entity}/{project}/{last}"))
                return
            self._api().flush()  # it keeps each run that it was asked for
            run = self._api().run(remote_id)
            yield from _Reading(run, scratch).pieces()

    def _of_project(self, path: str, query: RunQuery) -> Iterator[RemoteRun]:
        filters: dict[str, Any] = {}
        if query.since is not None:
            since = datetime.fromtimestamp(query.since // 10**9, UTC)
            filters = {"createdAt": {"$gte": since.isoformat().replace("+00:00", "Z")}}
        if self.run_id is not None:
            filters = {"name": self.run_id}
        runs = self._api().runs(path, filters, per_page=min(query.page, 100), lazy=False)
        sweeps = set[str]()
        for run in runs:
            runs.objects[runs.index] = None  # it would keep each of them
            if run.sweep_name and run.sweep_name not in sweeps:
                sweeps.add(run.sweep_name)
                yield _listed_sweep(path, run)
            yield _listed(path, run)

    def _api(self) -> Any:
        if self._client is None:
            with self._errors("a question"):
                if not WandbServer(self.url, self.key, _FIRST).knows_key():
                    raise TrackyardError(f"{self.url} does not know the API key")
                import wandb

                where = {"base_url": self.url}
                self._client = wandb.Api(where, timeout=_TIMEOUT, api_key=self.key)
        return self._client

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Say of a failure what was asked for."""
        try:
            yield
        except (TrackyardError, OSError, GeneratorExit):
            raise
        except RetryLater as error:
            raise TrackyardError(str(error)) from error
        except Exception as error:  # W&B's client raises a dozen kinds
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise TrackyardError(f"{self.url}, asked for {what}: {reason}") from error


def _listed(path: str, run: Any) -> RemoteRun:
    known = run._attrs  # noqa: SLF001 - what it was made of; its properties ask the server again
    names = ("state", "heartbeatAt", "displayName", "tags", "notes", "group", "historyLineCount")
    parts = [known.get(name) for name in names]
    parts += [known.get("rawconfig"), known.get("summaryMetrics")]
    version = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()
    status = _STATUS.get(run.state)
    return RemoteRun(
        remote_id=f"{path}/{run.id}",
        identity=f"{path.partition('/')[2]}/{run.id}",
        name=run.name or run.id,
        experiment=path.partition("/")[2],
        status=status,
        started_at=_nanoseconds(known.get("createdAt")),
        ended_at=None if status == "running" else _nanoseconds(known.get("heartbeatAt")),
        parent_id=f"{path}/sweeps/{run.sweep_name}" if run.sweep_name else None,
        user=(known.get("user") or {}).get("username"),
        version=version,
        size=200 * (known.get("historyLineCount") or 0),
    )


def _listed_sweep(path: str, run: Any) -> RemoteRun:
    return RemoteRun(
        remote_id=f"{path}/sweeps/{run.sweep_name}",
        name=run.sweep_name,
        experiment=path.partition("/")[2],
        started_at=_nanoseconds(run.created_at),
    )


def _of_sweep(sweep: Any) -> Iterator[Piece]:
    """Give what a sweep is: how it looks for values, and among which."""
    known = sweep._attrs  # noqa: SLF001 - as above
    config = sweep.config if isinstance(sweep.config, dict) else {}
    yield RemoteRun(
        remote_id=f"{sweep.entity}/{sweep.project}/sweeps/{sweep.id}",
        name=known.get("displayName") or config.get("name") or sweep.id,
        status=_OF_SWEEPS.get(str(known.get("state")).upper(), "running"),
        started_at=_nanoseconds(known.get("createdAt")),
        ended_at=_nanoseconds(known.get("updatedAt")),
    )
    yield Tag("wandb.sweep", sweep.id)
    for key, value in config.items():
        yield from params_of(key, value)


@attrs.define
class _Reading:
    """Reads one run.

    Attributes:
        run: As W&B's client has it.
        scratch: Where files are downloaded to.
    """

    run: Any
    scratch: Path
    _context: Context = attrs.field(factory=Context)

    def pieces(self) -> Iterator[Piece]:
        """Give all of it; files first, which its history names."""
        raw = self.run.rawconfig
        yield from labels_of(raw)
        yield from _labels(self.run)
        yield from self._files()
        if self._context != Context():
            yield self._context
        yield from self._history(raw.get("_wandb"))
        yield from self._events()
        yield from self._artifacts()

    def _history(self, own: Any) -> Iterator[Piece]:
        rows = Rows(self.scratch / "made")
        rows.note_config(self.run.rawconfig)
        for name, glob, axis in _axes(own):
            rows.note_axis(name, glob, axis)
        seen = _Seen()
        for row in self.run.scan_history(page_size=_ROWS_AT_ONCE, use_cache=False):
            # Columns that a row does not have are empty in what was exported.
            known = {key: numbered(value) for key, value in row.items() if value is not None}
            if seen.is_new(known):
                yield from rows.of(known, self._downloaded)
        yield from rows.rest()
        rows.note_summary(numbered(dict(self.run.summary_metrics)))
        yield from rows.summary()

    def _downloaded(self, name: str) -> Path | None:
        return inside(self.scratch / "files", Path(name))

    def _files(self) -> Iterator[Piece]:
        files = self.run.files(per_page=100)
        for file in files:
            files.objects[files.index] = None  # it would keep each of them
            if file.name.startswith("artifact/") or (
                file.name in OWN_FILES and file.name not in (_METADATA, REQUIREMENTS)
            ):
                continue
            if _leads_elsewhere(file.name):
                yield ImportNote(f"file {file.name}: its name leads out of the run")
                continue
            try:
                file.download(root=str(self.scratch / "files"), replace=True).close()
            except Exception as error:  # whatever W&B's client says of it
                yield _missing(f"file {file.name}", error)
                continue
            yield from self._of_file(file.name, self.scratch / "files" / file.name)

    def _of_file(self, name: str, path: Path) -> Iterator[Piece]:
        if name == _METADATA:
            self._context = self._context.updated(_context_of(path))
        elif name == REQUIREMENTS:
            self._context = self._context.updated(Context(packages=_packages_of(path)))
        elif name == _CONSOLE:
            yield Artifact("console.log", path, "text", "text/plain")
        elif not name.startswith("media/"):
            yield artifact_of(name, path)

    def _events(self) -> Iterator[Piece]:
        """Give what W&B measured of the machine."""
        rows = self.run.history(samples=_MOST_EVENTS, stream="system", pandas=False)
        for row in rows:
            timestamp = moment_of(row)
            for key, value in row.items():
                if isinstance(value, int | float) and not key.startswith("_"):
                    name = f"system/{key.removeprefix('system.')}"
                    yield Metric(name, float(value), None, timestamp)
        if len(rows) >= _MOST_EVENTS:
            yield ImportNote("system metrics: W&B gives samples of so many", "changed", len(rows))

    def _artifacts(self) -> Iterator[Piece]:
        seen = Counter[str]()
        for artifact in self.run.logged_artifacts():
            if artifact.type in OF_WANDB:
                continue
            name = artifact.name.partition(":")[0]
            seen[name] += 1
            place = name if seen[name] == 1 else artifact.name.replace(":", "-")
            yield from self._contents(artifact, place)
        folder = self.scratch / "used"
        for artifact in self.run.used_artifacts():
            yield _used(artifact, folder)

    def _contents(self, artifact: Any, name: str) -> Iterator[Piece]:
        folder = self.scratch / "artifacts" / hashlib.sha256(name.encode()).hexdigest()[:16]
        files: dict[str, Path] = {}
        for path, entry in artifact.manifest.entries.items():
            if _leads_elsewhere(path):
                yield ImportNote(f"{artifact.type} {name}/{path}: its name leads out of it")
                continue
            if entry.ref is not None:  # another store, which a foreign file names
                yield ImportNote(f"{artifact.type} {name}/{path}: it refers to {entry.ref}")
                continue
            try:
                found = artifact.get_entry(path).download(root=str(folder), skip_cache=True)
                files[path] = Path(found)
            except Exception as error:  # whatever W&B's client says of it
                yield _missing(f"{artifact.type} {name}/{path}", error)
        made = self.scratch / "described" / folder.name
        known = dict(artifact.metadata or {})
        yield from artifacts_of(artifact.type, name, artifact.digest, files, made, metadata=known)


@attrs.define
class _Seen:
    """Tells rows apart that come twice: from what was exported, and from what is live."""

    _rows: dict[Any, list[dict[str, Any]]] = attrs.field(factory=dict)

    def is_new(self, row: dict[str, Any]) -> bool:
        """Tell whether a row is none of those that came within the last pages."""
        step = row.get("_step")
        before = self._rows.get(step)
        if before is None:
            self._rows[step] = [row]
            if len(self._rows) > 2 * _ROWS_AT_ONCE:
                del self._rows[next(iter(self._rows))]
            return True
        if any(_same_text(row) == _same_text(other) for other in before):
            return False
        before.append(row)
        return True


def _same_text(row: Mapping[str, Any]) -> str:
    """Give a text that is one for what JSON and Parquet say of a row: 1 and 1.0 are alike."""
    numbers = {key: float(v) if isinstance(v, int | float) else v for key, v in row.items()}
    return json.dumps(numbers, sort_keys=True)


def _leads_elsewhere(name: str) -> bool:
    return name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name)


def _missing(what: str, error: Exception) -> ImportNote:
    """Say that a file is missing there; another failure is none of the file's.

    Raises:
        Exception: The error, where the same may succeed later.
    """
    reason = " ".join(str(error).split())
    if re.search(r"\b(403|404|410)\b|not found", reason, re.IGNORECASE) is None:
        raise error
    return ImportNote(f"{what}: {reason[:200]}")


def _labels(run: Any) -> Iterator[Tag]:
    found = {
        "tags": ", ".join(run.tags or ()),
        "notes": run.notes,
        "group": run.group,
        "job_type": run.job_type,
        "sweep": run.sweep_name,
        "entity": run.entity,
    }
    yield from (Tag(f"wandb.{key}", text) for key, text in found.items() if text)


def _axes(own: Any) -> Iterator[tuple[str, str, str]]:
    """Give which columns are the steps of others: their names, and those that begin alike."""
    metrics = own.get("m") if isinstance(own, dict) else None
    metrics = metrics if isinstance(metrics, list) else []
    # Numbers of the fields of W&B's record: name, glob, and the place of the axis, from 1.
    for metric in metrics:
        place = metric.get("5", 0)
        axis = metrics[place - 1].get("1", "") if 0 < place <= len(metrics) else ""
        yield metric.get("1", ""), metric.get("2", ""), metric.get("4") or axis


def _used(artifact: Any, folder: Path) -> Record:
    """Give the dataset that an artifact is which the run has used."""
    dataset = Dataset(
        name=artifact.name.partition(":")[0],
        version=artifact.version,
        digest=artifact.digest,
        source=f"wandb-artifact://{artifact.qualified_name}",
    )
    path = folder / f"{hashlib.sha256(artifact.qualified_name.encode()).hexdigest()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dataset.to_json(), encoding="utf-8")
    name = f"{Dataset.folder}/{dataset.name}.json"
    return Artifact(name, path, "dataset", "application/json")


def _context_of(path: Path) -> Context:
    try:
        found = json.loads(path.read_bytes())
        git = found.get("git") or {}
        known = Git(commit=git.get("commit"), remote=git.get("remote"))
        gpus = [str(gpu.get("name")) for gpu in found.get("gpu_nvidia") or ()]
        program = found.get("program")
        return Context(
            user=found.get("username"),
            host=found.get("host"),
            system=found.get("os"),
            python=found.get("python"),
            command=tuple(str(part) for part in (program, *(found.get("args") or ())) if part),
            script=found.get("codePath") or program,
            folder=found.get("root"),
            git=None if known == Git() else known,
            cpus=found.get("cpu_count_logical"),
            gpus=tuple(gpus or filter(None, [found.get("gpu")])),
        )
    except (OSError, ValueError, AttributeError, TypeError):
        return Context()


def _packages_of(path: Path) -> dict[str, str]:
    lines = path.read_text("utf-8", "replace").splitlines()
    found = (line.partition("==") for line in lines)
    return {name: version for name, _, version in found if name and version}


def _nanoseconds(text: str | None) -> int | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
