"""How do runs travel as one file, and what of such a file is believed?

It is a ZIP file in which nothing is compressed: what is unpacked is never larger than the file.
`archive.json` names the runs, and each has its journal and its blobs in a folder by its id.
Trackers are not in it: they, secrets and addresses are of the project that reads it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trackyard.contract.errors import TrackyardError, refuse_newer
from trackyard.contract.importing import ImportNote, RemoteRun, RunQuery, inside
from trackyard.contract.records import SEVERITY, Failure, Record, Run, Tag
from trackyard.journal.blobs import file_name
from trackyard.journal.children import as_counted
from trackyard.journal.descriptions import load_description
from trackyard.journal.entries import dropped_in
from trackyard.journal.reader import JournalReader
from trackyard.journal.summaries import summary_of_folder
from trackyard.recovery.finishing import PendingRun
from trackyard.system.files import make_private_folder, open_private, reading, replacing

FORMAT = 1
_INDEX = "archive.json"
MEMBER = re.compile(
    r"(?P<run>[0-9a-f]{32})/"
    r"(?P<path>[^/\\\0]+\.\d{6}\.tyj|blobs/[0-9a-f]{64}/(?P<name>[^/\\\0]+))"
)
# What a journal may say of the copy that it was, and this one is not.
_OF_THE_COPY = ("trackyard.run_id", "trackyard.cursor", "trackyard.status", "trackyard.failure")
_BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError)


def write_archive(runs: Iterable[PendingRun], file: Path) -> int:
    """Write runs into one file, whole or not at all; give how many.

    Args:
        runs: The runs, which have ended.
        file: The file, which is replaced.

    Raises:
        TrackyardError: A run is still running, a newer Trackyard wrote it, or the file cannot be
            written.
    """
    try:
        return _write(runs, file)
    except OSError as error:
        raise TrackyardError(f"{file} cannot be written: {error.strerror}") from error


def _write(runs: Iterable[PendingRun], file: Path) -> int:
    described = []
    with (
        replacing(file) as staged,
        zipfile.ZipFile(staged, "w", zipfile.ZIP_STORED) as archive,
    ):
        for run in runs:
            if run.is_alive:
                name = run.description.run.name
                raise TrackyardError(f"run {name!r} is still running; wait for its end")
            described.append(_described(run))
            for path in files_of(run.folder):
                _add(archive, f"{run.folder.name}/{path.relative_to(run.folder)}", path)
        archive.writestr(_INDEX, json.dumps({"format": FORMAT, "runs": described}))
    return len(described)


def _described(run: PendingRun) -> dict[str, Any]:
    """Say what a journal does not: nothing of trackers."""
    known = run.description.run
    summary = summary_of_folder(run.folder, load_description)[1]
    if summary is None:
        raise TrackyardError(f"{run.folder}: a newer Trackyard wrote it; upgrade Trackyard")
    return {
        "id": run.folder.name,
        "name": known.name,
        "experiment": known.experiment,
        "pipeline": known.pipeline,
        "step": known.step,
        "parent_id": known.parent_id,
        "tags": dict(known.tags),
        "started_at": known.started_at,
        "ended_at": summary.ended_at,
        "status": summary.status,
        "failure": summary.failure,
        "all_ranks": run.description.counts_all_ranks,
    }


def files_of(folder: Path) -> Iterator[Path]:
    """Give the files of a run that go into an archive; a link, which leads elsewhere, is none.

    Args:
        folder: The run's folder.
    """
    for path in sorted([*folder.glob("*.tyj"), *folder.glob("blobs/*/*")]):
        member = f"{folder.name}/{path.relative_to(folder)}"
        if MEMBER.fullmatch(member) and inside(folder, path) and path.is_file():
            yield path


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    # Without the file's own time: equal runs make equal files.
    member = zipfile.ZipInfo(name)
    with reading(path) as source, archive.open(member, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target)


class Archive:
    """The runs in a file that came from elsewhere: a source of `trackyard import`.

    Args:
        place: The file.
    """

    def __init__(self, place: str) -> None:
        self._file = Path(place).expanduser()
        self._archive: zipfile.ZipFile | None = None
        self._members: dict[str, list[zipfile.ZipInfo]] = {}
        self._described: dict[str, Mapping[str, Any]] = {}

    def list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: It is no archive, or one that names something outside.
        """
        if not self._file.is_file():
            raise TrackyardError(f"{self._file}: there is no such file")
        try:
            self._open()
            runs = [self._run_of(described) for described in self._described.values()]
        except (*_BROKEN, zipfile.BadZipFile) as error:
            raise TrackyardError(f"{self._file}: no archive of Trackyard's: {error}") from error
        yield from (run for run in runs if query.fits(run))

    def read_remote_run(
        self, run: Run, remote_id: str
    ) -> Iterator[Record | RemoteRun | ImportNote]:
        """Read a run that was listed.

        Args:
            run: With the folder for what is unpacked.
            remote_id: Its id.

        Raises:
            TrackyardError: It cannot be unpacked.
        """
        described, folder = self._described[remote_id], run.folder / remote_id
        try:
            self._unpack(remote_id, folder)
        except (*_BROKEN, zipfile.BadZipFile) as error:
            raise TrackyardError(f"{self._file}: {remote_id} is damaged: {error}") from error
        yield Tag("trackyard.run_id", remote_id)
        yield from (Tag(key, value) for key, value in described["tags"].items())
        if described["step"] is not None:
            what = f"a step of pipeline {described['pipeline']}: comes as a run"
            yield ImportNote(what, "changed")
        yield from records_in(folder, all_ranks=described["all_ranks"])

    def _open(self) -> None:
        archive = self._archive = zipfile.ZipFile(self._file)
        members = archive.infolist()
        names: set[str] = set()
        for member in members:
            name = _checked(member, self._file)
            if member.filename in names:
                raise TrackyardError(f"{self._file}: holds {member.filename!r} twice")
            names.add(member.filename)
            if name is not None:
                self._members.setdefault(name, []).append(member)
        if sum(member.file_size for member in members) > self._file.stat().st_size:
            raise TrackyardError(f"{self._file}: holds more than its size")
        index = json.loads(archive.read(_INDEX))
        refuse_newer(self._file, index["format"], FORMAT)
        self._described = {str(run["id"]): _checked_run(run) for run in index["runs"]}

    def _run_of(self, described: Mapping[str, Any]) -> RemoteRun:
        members = self._members.get(described["id"], [])
        parent, failure = described["parent_id"], described["failure"]
        return RemoteRun(
            remote_id=described["id"],
            name=described["name"],
            experiment=described["experiment"],
            status=described["status"],
            started_at=described["started_at"],
            ended_at=described["ended_at"],
            parent_id=parent if parent in self._described else None,
            failure=Failure(**failure) if failure else None,
            version=f"{sum(m.file_size for m in members)} {sum(m.CRC for m in members):x}",
            size=sum(member.file_size for member in members),
        )

    def _unpack(self, run_id: str, folder: Path) -> None:
        assert self._archive is not None
        make_private_folder(folder)
        for member in self._members.get(run_id, []):
            target = folder / member.filename.partition("/")[2]
            make_private_folder(target.parent)
            with (
                self._archive.open(member) as source,
                os.fdopen(open_private(target, os.O_EXCL), "wb") as file,
            ):
                shutil.copyfileobj(source, file)


def _checked(member: zipfile.ZipInfo, file: Path) -> str | None:
    """Give the id of the run that a member belongs to; None for the index.

    Raises:
        TrackyardError: It would lie elsewhere, is a link, or grows when it is unpacked.
    """
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise TrackyardError(f"{file}: {member.filename!r} is compressed, which archives are not")
    if member.filename == _INDEX:
        return None
    found = MEMBER.fullmatch(member.filename)
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    name = found["name"] if found else None
    if found is None or is_link or (name is not None and name != file_name(name)):
        raise TrackyardError(f"{file}: {member.filename!r} is no file of an archive")
    return found["run"]


def _checked_run(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what an archive says of a run, if each of it is what it must be.

    Raises:
        ValueError: It is not.
    """
    texts = [run["name"], run["experiment"], *run["tags"], *run["tags"].values()]
    others = [run[key] for key in ("pipeline", "step", "parent_id")]
    moments = [run["started_at"], run["ended_at"]]
    is_right = (
        re.fullmatch("[0-9a-f]{32}", run["id"])
        and run["status"] in SEVERITY
        and all(isinstance(text, str) for text in texts)
        and all(text is None or isinstance(text, str) for text in others)
        and all(at is None or (type(at) is int and 0 <= at < 2**63) for at in moments)
        and type(run["all_ranks"]) is bool
    )
    if not is_right:
        raise ValueError(f"{_INDEX} says what no run is")
    return run


def records_in(folder: Path, *, all_ranks: bool) -> Iterator[Record | ImportNote]:
    """Give what a journal holds that counts.

    Args:
        folder: The run's folder.
        all_ranks: What children of all ranks log counts, not of the first alone.
    """
    reader = JournalReader(folder)
    dropped = 0
    while entries := reader.read(1000):
        for position, entry in entries:
            dropped += dropped_in(entry)
            counted = as_counted(entry, position.writer, all_ranks=all_ranks)
            for record in counted.records() if counted is not None else ():
                if not isinstance(record, Tag) or record.key not in _OF_THE_COPY:
                    yield record
    if lost := dropped + reader.lost:
        yield ImportNote("log calls that are damaged, or never got there", "left", lost)
