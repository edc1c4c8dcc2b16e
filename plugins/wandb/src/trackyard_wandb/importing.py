"""Which runs do W&B's own files hold: folders `wandb/` with runs, and single `.wandb` files?

Nothing is asked of a server, and no account is needed. Names that a file holds are followed only
below the run's own folder: what else it names is another machine's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import (
    Artifact,
    Context,
    Git,
    ImportNote,
    Metric,
    Record,
    RemoteRun,
    RunQuery,
    Tag,
    TrackyardError,
    inside,
)
from trackyard_wandb.artifacts import OF_WANDB
from trackyard_wandb.capturing import artifact_of, flat_values, text_of
from trackyard_wandb.foreign_files import foreign_records
from trackyard_wandb.media import HISTOGRAM, KINDS, histogram_file
from trackyard_wandb.records import OWN_FILES, STEP, items_of, labels_of, parse

Piece = Record | RemoteRun | ImportNote
_OWN = frozenset({"_step", "_timestamp", "_runtime", "_wandb", STEP})
# Numbers of fields: summaries repeat each row, and are passed over without being parsed.
_SKIPPED = {3, 9, 11, 27}
_LOG = re.compile(r"run-.*\.wandb")
_HEAD = 200  # records of a file that are looked at for the run's own


@attrs.define
class WandbFiles:
    """The `.wandb` files below a folder, or one of them.

    Attributes:
        root: The folder or file.
    """

    root: Path
    _files: dict[str, list[Path]] = attrs.field(factory=dict)

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs; one that was gone on with has several files.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: There is no such folder or file.
        """
        if not self.root.exists():
            raise TrackyardError(
                f"{self.root}: there is no such folder or file; runs that only a server has are "
                "not imported"
            )
        found: dict[str, RemoteRun] = {}
        for path in _logs(self.root):
            run = _listed(path)
            self._files.setdefault(run.remote_id, []).append(path)
            before = found.get(run.remote_id)
            if before is not None:
                run = attrs.evolve(before, version=f"{before.version} {run.version}")
            found[run.remote_id] = run
        yield from (run for run in found.values() if query.fits(run))

    def read(self, remote_id: str, scratch: Path) -> Iterator[Piece]:
        """Read a run that was listed.

        Args:
            remote_id: Its id.
            scratch: Where files are written.
        """
        reading = _Reading(remote_id, scratch)
        for path in self._files[remote_id]:
            yield from reading.of_file(path)
        if reading.console.exists():
            yield Artifact("console.log", reading.console, "text", "text/plain")
        yield reading.end()


def source_of(place: str | None) -> WandbFiles:
    """Find who reads a place.

    Args:
        place: A folder or a file.

    Raises:
        TrackyardError: None is named.
    """
    if place is None:
        raise TrackyardError("runs that only a server has are not imported; name a folder of them")
    return WandbFiles(Path(place).expanduser())


def _logs(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for name, folders, files in os.walk(root):
        folders.sort()
        paths = (Path(name, file) for file in sorted(files) if _LOG.fullmatch(file))
        yield from (path for path in paths if not path.is_symlink())


def _listed(path: Path) -> RemoteRun:
    """Give what the first records of a file say of its run."""
    size = path.stat().st_size
    fallback = path.stem.removeprefix("run-")
    for number, data in enumerate(foreign_records(path)):
        if number > _HEAD:
            break
        record = None if isinstance(data, ImportNote) else parse(data)
        if record is not None and record.WhichOneof("record_type") == "run":
            run = record.run
            return RemoteRun(
                remote_id=run.run_id or fallback,
                name=run.display_name or run.run_id or fallback,
                experiment=run.project or "uncategorized",
                started_at=run.start_time.ToNanoseconds() or None,
                version=str(size),
                size=size,
            )
    return RemoteRun(fallback, name=fallback, version=str(size), size=size)


@attrs.define
class _Reading:
    """Makes records of one run; later ones rest on what earlier ones said."""

    remote_id: str
    scratch: Path
    _axes: dict[str, str] = attrs.field(factory=dict)
    _globs: dict[str, str] = attrs.field(factory=dict)
    _last: int = 0
    _exit: int | None = None
    _user: str | None = None

    @property
    def console(self) -> Path:
        """Where what the run printed is put together."""
        return self.scratch / "console.log"

    def of_file(self, path: Path) -> Iterator[Piece]:
        """Read one of its files.

        Args:
            path: The file.
        """
        files = path.parent / "files"
        for data in foreign_records(path):
            if isinstance(data, ImportNote):
                yield data
            elif _field_of(data) not in _SKIPPED:
                yield from self._of_record(parse(data), files)

    def end(self) -> RemoteRun:
        """Give what only the end tells; without one the process was killed, or goes on."""
        status: Any = {None: "running", 0: "finished"}.get(self._exit, "failed")
        ended_at = None if self._exit is None else self._last or None
        return RemoteRun(self.remote_id, status=status, ended_at=ended_at, user=self._user)

    def _of_record(self, record: Any, files: Path) -> Iterator[Piece]:
        match record.WhichOneof("record_type"):
            case "run":
                yield from labels_of(items_of(record.run.config.update))
                yield from _of_run(record.run)
            case "config":
                yield from labels_of(items_of(record.config.update))
            case "metric":
                self._note_axis(record.metric)
            case "history":
                yield from self._row(items_of(record.history.item), files)
            case "stats":
                yield from self._stats(record.stats)
            case "files":
                yield from _saved(record.files.files, files)
            case "artifact":
                yield from _logged(record.artifact, files.parent)
            case kind:
                yield from self._of_process(kind, record)

    def _of_process(self, kind: str | None, record: Any) -> Iterator[Piece]:
        """Give what a record says of the process that made the run."""
        match kind:
            case "environment":
                self._user = record.environment.username or None
                yield _context_of(record.environment)
            case "exit":
                self._exit = record.exit.exit_code
            case "output" | "output_raw":
                with self.console.open("a", encoding="utf-8") as file:
                    file.write(getattr(record, kind).line)
            case "preempting" | "alert":
                yield ImportNote(f"records of kind {kind!r}")

    def _row(self, row: Mapping[str, Any], files: Path) -> Iterator[Piece]:
        timestamp = round(row.get("_timestamp", 0) * 1e9)
        self._last = max(self._last, timestamp)
        values = dict(flat_values(row))
        for key, value in values.items():
            if key in _OWN:
                continue
            step = values.get(STEP, values.get(self._axis_of(key)))
            step = step if isinstance(step, int | float) else row.get("_step")
            if isinstance(value, int | float):
                yield Metric(key, float(value), step, timestamp)
            elif isinstance(value, dict):
                for piece in self._media(key, value, files):
                    if isinstance(piece, Artifact):
                        yield attrs.evolve(piece, step=step, timestamp=timestamp)
                    else:
                        yield piece
            elif value is not None:
                yield Tag(key, text_of(value))

    def _media(
        self, key: str, value: Mapping[str, Any], files: Path
    ) -> Iterator[Artifact | ImportNote]:
        """Give the artifacts that a value with a type of W&B's stands for."""
        type_ = value["_type"]
        if type_ == HISTOGRAM:
            path = histogram_file(value, self.scratch)
            if path is not None:
                yield Artifact(f"{key}.json", path, "histogram", "application/json")
            return
        names = value.get("filenames") or [value.get("path")]
        kind = next((kind for kind, (known, _) in KINDS.items() if known == type_), None)
        for number, name in enumerate(names):
            found = inside(files, Path(name)) if isinstance(name, str) else None
            if found is None:
                yield ImportNote(f"{type_} {key}: its file is not in the run's folder")
                continue
            place = f"{key}/{number}" if len(names) > 1 else key
            artifact = artifact_of(f"{place}{found.suffix}", found)
            yield artifact if kind is None else attrs.evolve(artifact, kind=kind)

    def _stats(self, stats: Any) -> Iterator[Piece]:
        timestamp = stats.timestamp.ToNanoseconds()
        for item in stats.item:
            value = json.loads(item.value_json)
            if isinstance(value, int | float) and not item.key.startswith("_"):
                yield Metric(f"system/{item.key}", float(value), None, timestamp)

    def _note_axis(self, metric: Any) -> None:
        if metric.step_metric and metric.name:
            self._axes[metric.name] = metric.step_metric
        elif metric.step_metric and metric.glob_name:
            self._globs[metric.glob_name.rstrip("*")] = metric.step_metric

    def _axis_of(self, key: str) -> str:
        globs = (axis for glob, axis in self._globs.items() if key.startswith(glob))
        axis = self._axes.get(key) or next(globs, "_step")
        return "_step" if axis == key else axis


def _of_run(run: Any) -> Iterator[Tag]:
    found = {
        "tags": ", ".join(run.tags),
        "notes": run.notes,
        "group": run.run_group,
        "job_type": run.job_type,
        "sweep": run.sweep_id,
        "entity": run.entity,
    }
    yield from (Tag(f"wandb.{key}", text) for key, text in found.items() if text)


def _context_of(found: Any) -> Context:
    git = Git(commit=found.git.commit or None, remote=found.git.remote_url or None)
    return Context(
        user=found.username or None,
        host=found.host or None,
        system=found.os or None,
        python=found.python or None,
        command=tuple(part for part in (found.program, *found.args) if part),
        script=found.code_path or found.program or None,
        folder=found.root or None,
        git=None if git == Git() else git,
        cpus=found.cpu_count_logical or None,
        gpus=tuple(gpu.name for gpu in found.gpu_nvidia),
    )


def _saved(names: Any, files: Path) -> Iterator[Artifact | ImportNote]:
    for file in names:
        if file.path.startswith("media/") or file.path in OWN_FILES:
            continue
        found = inside(files, Path(file.path))
        if found is None or not found.is_file():
            yield ImportNote(f"file {file.path}: it is not in the run's folder")
        else:
            yield artifact_of(file.path, found)


def _logged(artifact: Any, folder: Path) -> Iterator[Artifact | ImportNote]:
    """Give an artifact's files where they lie in the run's folder; W&B keeps them elsewhere."""
    if artifact.type in OF_WANDB:
        return
    kind: Any = "model" if artifact.type == "model" else "file"
    for entry in artifact.manifest.contents:
        found = inside(folder, Path(entry.local_path)) if entry.local_path else None
        name = f"{artifact.name}/{entry.path}"
        if found is None or not found.is_file():
            yield ImportNote(f"{artifact.type} {name}: its contents are not in the run's folder")
        else:
            yield Artifact(name, found, kind)


def _field_of(data: bytes) -> int:
    """Give the number of the field that says what a record is, without parsing it."""
    index = 0
    while index < len(data):
        tag = shift = 0
        while True:
            byte = data[index]
            index += 1
            tag |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if tag >> 3 != 1:
            return tag >> 3
        while data[index] >= 0x80:  # the record's own number
            index += 1
        index += 1
    return 0
