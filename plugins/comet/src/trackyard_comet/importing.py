"""Which runs do Comet's offline archives hold, and folders that a killed process did not zip?"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import attrs

from trackyard.contract import (
    Artifact,
    Context,
    ImportNote,
    Param,
    Record,
    RemoteRun,
    RunQuery,
    Tag,
    TrackyardError,
    inside,
)
from trackyard_comet.context import TOLD, context_in
from trackyard_comet.histograms import taken_over
from trackyard_comet.messages import records_of

Piece = Record | RemoteRun | ImportNote
_EXPERIMENT, _MESSAGES = "experiment.json", "messages.json"
_READ = {"metric_msg", "parameter_msg", "log_other", "file_upload"}
# What else Comet writes of its own accord, and what repeats it.
_PASSED_OVER = {"os_package", "installed_packages", "model_graph", "ws_msg", "log_dependency"}
# A file that is so many times larger than in its archive, and larger than this, is a trap.
_MOST_TIMES, _LARGE = 1000, 100 * 1024 * 1024


@attrs.define
class Archives:
    """The archives and folders below a folder, or one of them.

    Attributes:
        root: The folder or archive.
    """

    root: Path
    _places: dict[str, Path] = attrs.field(factory=dict)
    _damaged: set[str] = attrs.field(factory=set)

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: There is no such folder or file.
        """
        if not self.root.exists():
            raise TrackyardError(
                f"{self.root}: there is no such folder or archive; runs of a server are named "
                "comet:WORKSPACE/PROJECT"
            )
        for place in self._found():
            try:
                run = _listed(place)
            except (OSError, ValueError, zipfile.BadZipFile):
                run = RemoteRun(place.name)  # said where it is read
                self._damaged.add(run.remote_id)
            if run is not None:
                self._places[run.remote_id] = place
                if query.fits(run):
                    yield run

    def _found(self) -> Iterator[Path]:
        if self.root.is_file():
            yield self.root
            return
        zipped = self.root.rglob("*.zip")
        logs = self.root.rglob(_MESSAGES)
        open_ones = (path.parent for path in logs if not path.is_symlink())
        yield from sorted({*(p for p in zipped if not p.is_symlink()), *open_ones})

    def read(self, remote_id: str, scratch: Path) -> Iterator[Piece]:
        """Read a run that was listed.

        Args:
            remote_id: Its id.
            scratch: Where files are unpacked.
        """
        place = self._places[remote_id]
        if remote_id in self._damaged:
            raise TrackyardError(f"{place}: it is damaged, or none of Comet's")
        if place.is_dir():
            with (place / _MESSAGES).open("rb") as lines:
                yield from _Reading(place, None, scratch).of_lines(remote_id, lines)
            return
        with zipfile.ZipFile(place) as archive, archive.open(_MESSAGES) as lines:
            tags = json.loads(archive.read(_EXPERIMENT)).get("tags") or []
            if tags:
                yield Tag("comet.tags", ", ".join(map(str, tags)))
            yield from _Reading(place.parent, archive, scratch).of_lines(remote_id, lines)


def _listed(place: Path) -> RemoteRun | None:
    """Give what the description of an experiment says; None where this is no archive of one.

    Raises:
        OSError, ValueError, BadZipFile: It is damaged.
    """
    if place.is_dir():
        path = place / _EXPERIMENT
        found = json.loads(path.read_bytes()) if path.exists() else {}
        size = (place / _MESSAGES).stat().st_size
    else:
        with zipfile.ZipFile(place) as archive:
            if _EXPERIMENT not in archive.namelist():
                return None
            found = json.loads(archive.read(_EXPERIMENT))
        size = place.stat().st_size
    if not isinstance(found, dict):
        raise ValueError(f"{_EXPERIMENT}: it is no table")  # noqa: TRY004 - as JSON's errors are
    stop = found.get("stop_time")
    return RemoteRun(
        remote_id=str(found.get("offline_id") or place.stem),
        name=place.stem,
        experiment=found.get("project_name") or "general",
        status=None if stop else "running",
        started_at=nanoseconds(found.get("start_time")),
        ended_at=nanoseconds(stop),
        version=str(size),
        size=size,
    )


def nanoseconds(milliseconds: Any) -> int | None:
    """Give a time of Comet's, which has milliseconds, in nanoseconds."""
    return int(milliseconds) * 1_000_000 if milliseconds else None


@attrs.define
class _Reading:
    """Makes records of the messages of one run."""

    folder: Path
    archive: zipfile.ZipFile | None
    scratch: Path
    _files: int = 0

    def of_lines(self, remote_id: str, lines: IO[bytes]) -> Iterator[Piece]:
        """Read messages, a line each.

        Args:
            remote_id: The run's id.
            lines: The file.
        """
        console, context = self.scratch / "console.log", Context()
        for number, line in enumerate(lines, start=1):
            try:
                message = json.loads(line)
                kind, payload = message["type"], message["payload"]
            except (ValueError, KeyError, TypeError):
                yield ImportNote(f"line {number} of the messages is torn")
                continue
            if kind in TOLD:
                context = context.updated(context_in(message))
            elif kind == "log_other" and payload.get("key") == "Name":
                yield RemoteRun(remote_id, name=str(payload.get("value")))
            elif kind == "standard_output":
                with console.open("a", encoding="utf-8") as file:
                    file.write(str(payload.get("output") or ""))
            elif kind in _READ:
                yield from self._records(kind, message)
            elif kind not in _PASSED_OVER:
                yield ImportNote(f"messages of type {kind!r}")
        if context != Context():
            yield context
        if console.exists():
            yield Artifact("console.log", console, "text", "text/plain")

    def _records(self, kind: str, message: dict[str, Any]) -> Iterator[Piece]:
        if kind == "file_upload":
            source = self._file(message["payload"])
            if isinstance(source, ImportNote):
                yield source
                return
            message = {**message, "source": str(source)}
        try:
            records = [*records_of([message])]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield ImportNote(f"a message of type {kind!r} that says no {error}")
            return
        for record in records:
            is_steps = isinstance(record, Param) and record.key == "curr_step"  # of Comet's own
            if isinstance(record, Artifact) and record.kind == "histogram":
                yield taken_over(record, self.scratch / f"{record.path.name}.portable")
            elif not is_steps:
                yield record

    def _file(self, payload: dict[str, Any]) -> Path | ImportNote:
        """Give an uploaded file: one of the archive is unpacked, under a name of our own."""
        name = str(payload.get("file_path"))
        missing = ImportNote(f"file {name}: it is not in the archive")
        if self.archive is None:
            return inside(self.folder, Path(name)) or missing
        try:
            info = self.archive.getinfo(name)
        except KeyError:
            return missing
        if info.file_size > max(_LARGE, _MOST_TIMES * info.compress_size):
            return ImportNote(f"file {name}: it is too large for what the archive has of it")
        self._files += 1
        target = self.scratch / f"{self._files}{Path(name).suffix}"
        with self.archive.open(info) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file)
        return target
