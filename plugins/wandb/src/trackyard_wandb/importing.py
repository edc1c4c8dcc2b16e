"""Which runs do W&B's own files hold: folders `wandb/` with runs, and single `.wandb` files?

Nothing is asked of a server for these, and no account is needed. Names that a file holds are
followed only below the run's own folder: what else it names is another machine's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import (
    Artifact,
    Context,
    Git,
    ImportNote,
    Metric,
    RemoteRun,
    RunQuery,
    Tag,
    TrackyardError,
    inside,
)
from trackyard_wandb.artifacts import OF_WANDB
from trackyard_wandb.capturing import artifact_of
from trackyard_wandb.foreign_files import foreign_records, is_foreign
from trackyard_wandb.records import OWN_FILES, items_of, labels_of, parse
from trackyard_wandb.rows import Piece, Rows
from trackyard_wandb.server_runs import ServerRuns
from trackyard_wandb.settings import checked_key

# Numbers of fields that are passed over without being parsed.
_SKIPPED = {9, 11, 27}
# Summaries; those that W&B makes of each row have this in them, and the code's own have not.
_SUMMARY, _OF_A_ROW = 3, b"_runtime"
# An entity, a project and a run; a path that begins with a dot is none.
_PROJECT = re.compile(r"([\w-][\w.-]*)/([^/]+)(?:/([^/]+))?")
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
                f"{self.root}: there is no such folder or file; runs of a server are named "
                "wandb:ENTITY/PROJECT"
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
        reading = _Reading(remote_id, scratch, Rows(scratch))
        files = self._files[remote_id]
        if all(map(is_foreign, files)):
            raise TrackyardError(f"{files[0]}: it is none of W&B's")
        for path in files:
            yield from reading.of_file(path)
        yield from reading.rows.rest()
        yield from reading.rows.summary()
        if reading.console.exists():
            yield Artifact("console.log", reading.console, "text", "text/plain")
        yield reading.end()


def source_of(
    place: str | None, url: str, key: str | None, entity: str | None, project: str | None
) -> WandbFiles | ServerRuns:
    """Find who reads a place: files where there are such, else a project of the server.

    Args:
        place: A folder, a file, `entity/project` or `entity/project/run`; None for the project
            that is configured.
        url: The server's address.
        key: The API key, if there is one.
        entity: Whose projects, where the place does not say.
        project: The project, likewise.

    Raises:
        ValueError: A server is meant, and there is no API key.
    """
    if place is not None:
        path = Path(place).expanduser()
        if path.exists() or not (match := _PROJECT.fullmatch(place)):
            return WandbFiles(path)
        return ServerRuns(url, checked_key(key), *match.groups())
    return ServerRuns(url, checked_key(key), entity, project)


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
    for data in _head_of(path):
        record = None if isinstance(data, ImportNote) else parse(data)
        if record is not None and record.WhichOneof("record_type") == "run":
            run = record.run
            return RemoteRun(
                remote_id=run.run_id or fallback,
                name=run.display_name or run.run_id or fallback,
                experiment=run.project or "uncategorized",
                identity=f"{run.project or 'uncategorized'}/{run.run_id or fallback}",
                started_at=run.start_time.ToNanoseconds() or None,
                version=str(size),
                size=size,
            )
    return RemoteRun(fallback, name=fallback, version=str(size), size=size)


def _head_of(path: Path) -> list[bytes | ImportNote]:
    try:
        return [*islice(foreign_records(path), _HEAD)]
    except OSError:  # said where it is read
        return []


@attrs.define
class _Reading:
    """Makes records of one run; later ones rest on what earlier ones said."""

    remote_id: str
    scratch: Path
    rows: Rows
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
            elif not _is_skipped(data):
                yield from self._of_record(parse(data), files)

    def end(self) -> RemoteRun:
        """Give what only the end tells; without one the process was killed, or goes on."""
        status: Any = {None: "running", 0: "finished"}.get(self._exit, "failed")
        ended_at = None if self._exit is None else self.rows.last or None
        return RemoteRun(self.remote_id, status=status, ended_at=ended_at, user=self._user)

    def _of_record(self, record: Any, files: Path) -> Iterator[Piece]:
        match record.WhichOneof("record_type"):
            case "run":
                yield from self._of_config(record.run.config.update)
                yield from _of_run(record.run)
            case "config":
                yield from self._of_config(record.config.update)
            case "metric":
                metric = record.metric
                self.rows.note_axis(metric.name, metric.glob_name, metric.step_metric)
            case "history":
                yield from self.rows.of(items_of(record.history.item), partial(_below, files))
            case "summary":
                self.rows.note_summary(items_of(record.summary.update))
            case "stats":
                yield from _stats(record.stats)
            case "files":
                yield from _saved(record.files.files, files)
            case "artifact":
                yield from _logged(record.artifact, files.parent)
            case kind:
                yield from self._of_process(kind, record)

    def _of_config(self, items: Any) -> Iterator[Piece]:
        config = items_of(items)
        self.rows.note_config(config)
        yield from labels_of(config)

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


def _below(files: Path, name: str) -> Path | None:
    return inside(files, Path(name))


def _stats(stats: Any) -> Iterator[Metric]:
    timestamp = stats.timestamp.ToNanoseconds()
    for item in stats.item:
        value = json.loads(item.value_json)
        if isinstance(value, int | float) and not item.key.startswith("_"):
            yield Metric(f"system/{item.key}", float(value), None, timestamp)


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


def _is_skipped(data: bytes) -> bool:
    field = _field_of(data)
    return field in _SKIPPED or (field == _SUMMARY and _OF_A_ROW in data)


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
