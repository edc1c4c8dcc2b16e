"""How do journals reach the artifact store that a team shares, and how are they read from there?

    python -m trackyard.recovery.sharing FOLDER

sends those of the project in a folder. Below `journals/` of the store each run has a folder by its
id, with the files of an archive and a `run.json` that names no tracker. A run that goes on is sent
again and again, what has grown of it alone, with what it prints; one that has ended is sent once
more, and is done: what it printed is a file of it by then.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from trackyard.console.keeping import FOLDER as CONSOLE
from trackyard.contract.errors import NewerFormatError, TrackyardError
from trackyard.contract.importing import ImportNote, inside
from trackyard.contract.records import Record
from trackyard.journal.descriptions import RunDescription, load_description, save_description
from trackyard.journal.durability import load_journal_options
from trackyard.journal.pending import mark_as_shared, sharing_mark, to_be_shared_folders
from trackyard.journal.reader import is_alive
from trackyard.project.configuration import Project, find_project
from trackyard.recovery.archives import MEMBER, files_of, records_in
from trackyard.recovery.unsent import stores_of
from trackyard.system.files import make_private_folder, open_private, write_whole
from trackyard.system.locks import FileLock
from trackyard.system.waiting import result_within

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

FOLDER = "journals"
_RUN = "run.json"
_ALL_RANKS = "all_ranks"  # a mark: what children of all ranks log counts
_PRINTED = re.compile(rf"{CONSOLE}/[^/\\\0]+\.\d{{6}}\.log")
_BLOCK = 1 << 20
_PATIENCE = 600.0  # seconds that all journals of one pass may take


@attrs.frozen
class UnsharedRun:
    """A run whose journal the artifact store lacks.

    Attributes:
        id, name: Of the run.
        problem: Why; empty where it goes on, and is sent again.
    """

    id: str
    name: str
    problem: str


def shares_journals(project: Project) -> bool:
    """Tell whether the project's journals go to an artifact store, too.

    Raises:
        ConfigError: The project's `[journal]` is wrong.
    """
    return load_journal_options(project).upload


def shared_stores(project: Project) -> list[str]:
    """Give the artifact stores of the configuration that others may reach, the active one first.

    Args:
        project: The project.
    """
    home = project.home
    return [url for url in stores_of(project) if not Path(url).is_relative_to(home)]


def share_journals(project: Project, *, timeout: float | None = None) -> list[UnsharedRun]:
    """Send what the artifact store lacks of journals; give the runs of which it still does.

    Args:
        project: The project.
        timeout: Seconds for all of them at most; ten minutes by default.
    """
    folders = to_be_shared_folders(project.home)
    if not folders or not shares_journals(project):
        return []
    lock = FileLock(project.home / "unshared.lock")
    if not lock.acquire():  # another process is at it
        return []
    try:
        stores = shared_stores(project)
        if not stores:
            problem = "no stack names an artifact store outside of this project's home"
            return [_left(folder, problem) for folder in folders]
        sending = _Sending(stores[0])
        patience = _PATIENCE if timeout is None else timeout
        try:
            return result_within(patience, lambda: sending.send(folders), name="sharing")
        except TimeoutError as error:
            still = {*to_be_shared_folders(project.home)} & {*folders}
            return [_left(folder, str(error)) for folder in sorted(still)]
    finally:
        lock.release()


def _left(folder: Path, problem: str) -> UnsharedRun:
    try:
        description = load_description(folder)
    except NewerFormatError:
        description = None
    name = description.run.name if description is not None else folder.name
    return UnsharedRun(folder.name, name, problem)


class _Sending:
    """Sends journals to one artifact store.

    Args:
        url: The store.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def _store(self) -> tuple[AbstractFileSystem, str]:
        return _open(self._url)

    def send(self, folders: list[Path]) -> list[UnsharedRun]:
        """Send what is new of runs; give those that are not done. One error ends it for all."""
        left: list[UnsharedRun] = []
        for number, folder in enumerate(folders):
            try:
                with _reaching(self._url, "written"):
                    is_done = self._send(folder)
            except NewerFormatError as error:
                left.append(_left(folder, str(error)))
            except TrackyardError as error:
                return [*left, *(_left(one, str(error)) for one in folders[number:])]
            else:
                if not is_done:
                    left.append(_left(folder, ""))
        return left

    def _send(self, folder: Path) -> bool:
        """Send what is new of a run; tell whether that is all there will be."""
        is_going_on = is_alive(folder)  # first: what it logs meanwhile is sent next time
        description = load_description(folder)
        if description is not None:
            self._send_files(folder, description, is_going_on=is_going_on)
        if not is_going_on:
            mark_as_shared(folder)
        return not is_going_on

    def _send_files(self, folder: Path, description: RunDescription, *, is_going_on: bool) -> None:
        mark = sharing_mark(folder)
        sent = _read_mark(mark)
        for path in [*files_of(folder), *(_printed_in(folder) if is_going_on else [])]:
            member = path.relative_to(folder).as_posix()
            size = _written(path)
            if sent.get(member) != size:
                self._put(path, folder.name, member, size)
                sent[member] = size
        if _RUN not in sent:  # last: a reader finds a run by it
            with tempfile.TemporaryDirectory(prefix="trackyard-") as place:
                empty, run = Path(place) / _ALL_RANKS, Path(place) / _RUN
                empty.touch()
                save_description(Path(place), description.run, ())
                if description.counts_all_ranks:
                    self._put(empty, folder.name, _ALL_RANKS, 0)
                self._put(run, folder.name, _RUN, run.stat().st_size)
            sent[_RUN] = 1
        write_whole(mark, json.dumps(sent))

    def _put(self, path: Path, id: str, member: str, left: int) -> None:
        """Send so many bytes of a file."""
        file_system, base = self._store
        target = f"{base}/{id}/{member}"
        known = file_system.protocol
        if {"file", "local", "memory"} & ({known} if isinstance(known, str) else {*known}):
            file_system.makedirs(posixpath.dirname(target), exist_ok=True)
        with path.open("rb") as source, file_system.open(target, "wb") as file:
            while left > 0 and (block := source.read(min(left, _BLOCK))):
                file.write(block)
                left -= len(block)


def _printed_in(folder: Path) -> list[Path]:
    """Give the files of what a run has printed so far."""
    found = sorted(folder.glob(f"{CONSOLE}/*.log"))
    return [path for path in found if inside(folder, path) and path.is_file()]


def _read_mark(mark: Path) -> dict[str, int]:
    """Read how much of each file was sent; where that cannot be read, all is sent again."""
    try:
        sent = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return sent if isinstance(sent, dict) else {}


def _written(path: Path) -> int:
    """Give a file's bytes up to the last that is no zero: journals are made with room."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end and path.suffix == ".tyj":
            start = max(0, end - _BLOCK)
            file.seek(start)
            if block := file.read(end - start).rstrip(b"\0"):
                return start + len(block)
            end = start
        return end


def _open(url: str) -> tuple[AbstractFileSystem, str]:
    """Give the file system of an artifact store, and where journals lie in it."""
    from fsspec.core import url_to_fs  # 90 ms

    file_system, path = url_to_fs(f"{url}/{FOLDER}")
    file_system.invalidate_cache()
    return file_system, str(path).rstrip("/")


@contextmanager
def _reaching(url: str, what: str) -> Iterator[None]:
    """Have what a file system raises name the artifact store: each has errors of its own."""
    try:
        yield
    except TrackyardError:
        raise
    except Exception as error:
        problem = " ".join(str(error).split())[:300] or type(error).__name__
        raise TrackyardError(f"artifact store {url} cannot be {what}: {problem}") from error


class SharedJournal:
    """A run's journal in an artifact store, and what was fetched of it.

    What lies there may be anybody's: files that no journal has stay there, and trackers that its
    `run.json` names are not read.

    Args:
        url: The store.
        id: The run's id.
        place: The folder in which it gets one, which bears the run's id.
        names: Its files, as they are called in a run's folder.

    Raises:
        TrackyardError: It is no journal.
    """

    def __init__(self, url: str, id: str, place: Path, names: Iterable[str]) -> None:
        self.url = url
        self.folder = place / id
        self._names = [*names]
        self._fetch(name for name in self._names if "/" not in name)
        found = load_description(self.folder)
        if found is None:
            raise TrackyardError(f"{url}/{FOLDER}/{id}: is no journal of a run")
        self.run = found.run

    @classmethod
    def find(
        cls, project: Project, id: str, place: Path, *, timeout: float = _PATIENCE
    ) -> SharedJournal | None:
        """Look for a run in the artifact stores that the configuration names, where it shares.

        Args:
            project: The project.
            id: The run's id.
            place: The folder for what is fetched.
            timeout: Seconds that each store may take.

        Raises:
            TrackyardError: A store cannot be read.
        """
        if not shares_journals(project):
            return None
        for url in shared_stores(project):
            with _reaching(url, "read"):
                names = result_within(timeout, _Listing(url, id), name="shared-journal")
                if _RUN in names:
                    return cls(url, id, place, names)
        return None

    def fetch_files(self) -> None:
        """Fetch what was logged as files, too.

        Raises:
            TrackyardError: The store cannot be read.
        """
        self._fetch(name for name in self._names if MEMBER.fullmatch(f"{self.folder.name}/{name}"))

    def fetch_console(self) -> Path:
        """Fetch what a run that goes on has printed; give the folder in which that is.

        Raises:
            TrackyardError: The store cannot be read.
        """
        self._fetch(name for name in self._names if _PRINTED.fullmatch(name))
        return self.folder

    def records(self) -> Iterator[Record]:
        """Give what was logged; paths of files lead to where `fetch_files` puts them."""
        for record in records_in(self.folder, all_ranks=_ALL_RANKS in self._names):
            if not isinstance(record, ImportNote):
                yield record

    def _fetch(self, names: Iterable[str]) -> None:
        with _reaching(self.url, "read"):
            file_system, base = _open(self.url)
            for name in names:
                target = self.folder / name
                make_private_folder(target.parent)
                if not target.exists():
                    source = file_system.open(f"{base}/{self.folder.name}/{name}", "rb")
                    with source, os.fdopen(open_private(target), "wb") as file:
                        while block := source.read(_BLOCK):
                            file.write(block)


@attrs.frozen
class _Listing:
    """Lists the files of a journal in a store; called, it gives those that a journal may have."""

    url: str
    id: str

    def __call__(self) -> list[str]:
        file_system, base = _open(self.url)
        folder = f"{base}/{self.id}"
        try:
            paths = file_system.find(folder)
        except FileNotFoundError:
            return []
        names = [posixpath.relpath(path, folder) for path in paths]
        own = (_RUN, _ALL_RANKS)
        known = (
            MEMBER.fullmatch(f"{self.id}/{name}") or _PRINTED.fullmatch(name) for name in names
        )
        return [
            name for name, is_known in zip(names, known, strict=True) if is_known or name in own
        ]


def forget_shared(project: Project, id: str) -> None:
    """Delete a run's journal from the artifact stores that the configuration names.

    Args:
        project: The project.
        id: The run's id.

    Raises:
        TrackyardError: One cannot be written.
    """
    for url in shared_stores(project):
        with _reaching(url, "written"):
            file_system, base = _open(url)
            if file_system.exists(f"{base}/{id}"):
                file_system.rm(f"{base}/{id}", recursive=True)


if __name__ == "__main__":
    share_journals(find_project(Path(sys.argv[1])))
