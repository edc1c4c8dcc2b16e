"""Where do files and large values of a run lie, once for each content, and are they still whole?

A blob's folder is named by the SHA-256 of its content. In it the content bears the file name under
which it was logged; further names of the same content are links to it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from threading import RLock
from typing import NamedTuple

from trackyard.system.descriptors import opened
from trackyard.system.files import (
    copy_private,
    make_private_folder,
    open_private,
    read_small,
    reading,
)
from trackyard.system.interruption import let_signals_through

# An entry that is longer lies in a blob, and the journal refers to it.
LARGEST_ENTRY = 1024 * 1024
# A longer blob is not read to the end each time that somebody asks for it: its length must do.
_LARGEST_READ = 1024 * 1024 * 1024
# A shorter file is read at once, and written to its place: another name for a while costs more.
_SMALL = 1024 * 1024
_VALUE = "value.json"
# As many bytes as the part of a path has, and those that are kept of a longer one.
_LONGEST, _SHORT = 255, 180
_PLAIN_NAME = re.compile(r"(?:\w[\w.-]*/)*\w[\w.-]*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}")


class DamagedBlobError(ValueError):
    """A blob is not what was written, or not there."""


class Blob(NamedTuple):
    """Some content that is stored."""

    path: Path
    sha256: str
    size: int


class Blobs:
    """The contents that a run's process stores.

    Args:
        folder: The run's folder.
        is_synced: Have the disk hold each before it is referred to, for power failures.

    Attributes:
        folder: Where they lie.
        is_synced: As given.
    """

    def __init__(self, folder: Path, *, is_synced: bool = False) -> None:
        self.folder = folder / "blobs"
        self.is_synced = is_synced
        self._lock = RLock()  # a signal handler may log while its own thread is in here
        self._held: dict[Path, Blob] = {}

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """Give the path of a file that is to be written, and then taken by `take`."""
        place = make_private_folder(self.folder / f".new-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            yield place / file_name(name)
        finally:
            import shutil  # with four modules that compress

            shutil.rmtree(place, ignore_errors=True)

    @contextmanager
    def holding(self, blob: Blob) -> Iterator[None]:
        """Let `take` know of what was stored just now, which it need not read again.

        Args:
            blob: What `take` or `keep` gave.
        """
        self._held[blob.path] = blob
        try:
            yield
        finally:
            self._held.pop(blob.path, None)

    def take(self, path: Path, name: str, *, by_link: bool = False) -> Blob:
        """Store a file's content under an artifact's name; a staged file is moved, not copied.

        Args:
            path: The file.
            name: The artifact's name, by which the stored file is called.
            by_link: Nobody changes the file any more: store a link to it where the disk can.

        Raises:
            OSError: It cannot be read or written.
            ValueError: It is no regular file.
        """
        held = self._held.pop(path, None)
        if held is not None and path.name == file_name(name):
            return held
        if path.parent.parent == self.folder and path.parent.name.startswith(".new-"):
            path.chmod(0o600)
            return self._take_staged(path, name)
        if by_link and path.is_file():
            with self.staging(name) as staged, suppress(OSError):  # on another disk, or of others
                os.link(path.resolve(), staged)
                return self._take_staged(staged, name)
        content = read_small(path, _SMALL)
        if content is not None:
            return self.keep(content, name)
        with self.staging(name) as staged:
            copy_private(path, staged)
            return self._take_staged(staged, name)

    def keep(self, content: bytes, name: str) -> Blob:
        """Store content under an artifact's name.

        Args:
            content: The content.
            name: The artifact's name, by which the stored file is called.

        Raises:
            OSError: It cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        place, own = f"{self.folder}/{digest}", file_name(name)
        target = Path(place, own)
        blob = Blob(target, digest, len(content))
        if not self._write_new(place, target, content):
            with self.staging(name) as staged:
                with os.fdopen(open_private(staged, os.O_EXCL), "wb") as file:
                    file.write(content)
                self._put(staged, target, len(content))
        if self.is_synced:
            for path in (target, target.parent, self.folder):
                _have_on_disk(path)
        return blob

    def take_value(self, value: bytes) -> Blob:
        """Store a value that is too large for the journal's own files.

        Raises:
            OSError: It cannot be written.
        """
        return self.keep(value, _VALUE)

    def _write_new(self, place: str, target: Path, content: bytes) -> bool:
        """Write content to its place where it is not there yet; False where somebody has begun to.

        Nothing refers to the file before it is whole, and what a killed process leaves of one has
        another length: it needs no other name meanwhile.
        """
        try:
            os.mkdir(place, 0o700)  # noqa: PTH102 - many small files: this is most of their time
        except FileExistsError:
            with self._lock:
                return _is_there(target, len(content))
        except FileNotFoundError:
            make_private_folder(target.parent)
        try:
            number = open_private(target, os.O_EXCL)
        except FileExistsError:
            return False
        try:
            with os.fdopen(number, "wb", buffering=0) as file:
                left = memoryview(content)
                while left:
                    left = left[file.write(left) :]
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return True

    def _take_staged(self, path: Path, name: str) -> Blob:
        size, digest = _digest(path)
        place = make_private_folder(self.folder / digest)
        target = place / file_name(name)
        if self.is_synced:
            _have_on_disk(path)
        self._put(path, target, size)
        if self.is_synced:
            for folder in (place, self.folder):
                _have_on_disk(folder)
        return Blob(target, digest, size)

    def _put(self, path: Path, target: Path, size: int) -> None:
        """Move a file to its place, unless its content is there already."""
        with self._lock:
            if not _is_there(target, size):
                path.replace(target)


def file_of(folder: Path, sha256: str, size: int, name: str) -> Path:
    """Give the stored file of an artifact.

    Args:
        folder: The run's folder.
        sha256: The digest of its content.
        size: Its size in bytes.
        name: The artifact's name.

    Raises:
        DamagedBlobError: It is not there, or not what was stored.
    """
    if not _DIGEST.fullmatch(sha256):
        raise DamagedBlobError("a blob is named by its SHA-256")
    path = folder / "blobs" / sha256 / file_name(name)
    try:
        is_whole = path.is_file() and path.stat().st_size == size
        if not is_whole or not path.resolve().is_relative_to(folder.resolve()):
            raise DamagedBlobError(f"{path} is missing, or has another length")
        if size <= _LARGEST_READ and _digest(path)[1] != sha256:
            raise DamagedBlobError(f"{path} is damaged")
    except OSError as error:
        raise DamagedBlobError(f"{path} cannot be read: {error.strerror}") from error
    return path


def value_of(folder: Path, sha256: str, size: int) -> bytes:
    """Give a stored value.

    Args:
        folder: The run's folder.
        sha256: The digest of its content.
        size: Its size in bytes.

    Raises:
        DamagedBlobError: It is not there, or not what was stored.
    """
    try:
        return file_of(folder, sha256, size, _VALUE).read_bytes()
    except OSError as error:
        raise DamagedBlobError(f"a blob cannot be read: {error.strerror}") from error


def file_name(name: str) -> str:
    """Give the last part of an artifact's name as the name of a file."""
    if _PLAIN_NAME.fullmatch(name):
        return name.rpartition("/")[2]
    encodable = name.encode("utf-8", "backslashreplace").decode()
    parts = [part for part in re.split(r"[/\\\0]+", encodable) if part not in ("", ".", "..")]
    return parts[-1] if parts else "unnamed"


def shortened(name: str) -> str:
    """Give an artifact's name with parts that file systems take, told apart by a digest.

    Args:
        name: The name.
    """
    if len(name) < _LONGEST // 4:  # whose characters have up to four bytes
        return name
    return "/".join(map(_short, name.split("/")))


def _short(part: str) -> str:
    content = part.encode("utf-8", "backslashreplace")
    if len(content) <= _LONGEST:
        return part
    suffix = PurePath(part).suffix if len(PurePath(part).suffix) <= 10 else ""
    start = content[:_SHORT].decode("utf-8", "ignore")
    return f"{start}-{hashlib.sha256(content).hexdigest()[:8]}{suffix}"


def _digest(path: Path) -> tuple[int, str]:
    with reading(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _is_there(target: Path, size: int) -> bool:
    """Tell whether content is there, under this name or another one, to which this is linked."""
    others = [file for file in target.parent.iterdir() if file.stat().st_size == size]
    if target in others:
        return True
    for other in others:
        try:
            os.link(other, target)
        except OSError as error:  # the file system knows no links, or another thread was quicker
            let_signals_through(error)
        else:
            return True
    return False


def _have_on_disk(path: Path) -> None:
    with opened(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file:
        os.fsync(file.number)
