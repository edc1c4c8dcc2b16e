"""How are files written and copied that nobody but their owner may read?"""

from __future__ import annotations

import errno
import io
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trackyard.system.descriptors import OwnFile, opened

logger = logging.getLogger("trackyard")

_CHUNK = 1024 * 1024
_COPIED_AT_ONCE = 256 * _CHUNK  # by the system itself, without memory of ours
# What a system says that cannot copy between these two files by itself.
_NO_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM}


def open_private(path: Path, flags: int = 0) -> int:
    """Open a file that nobody else may read, and no program that this one starts inherits.

    Args:
        path: The file; a symbolic link is not followed.
        flags: Further flags of `os.open`; it is open for reading and writing, and made where it is
            not there.
    """
    flags |= os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def private_folder(path: Path) -> Path:
    """Give a folder that nobody else may enter; one that cannot be made is said, and no error."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:  # a full or read-only disk must not stop the step
        logger.warning("%s cannot be made: %s", path, error.strerror)
    return path


def make_private_folder(path: Path) -> Path:
    """Make a folder that nobody else may enter, and those that it lies in; give it back.

    Raises:
        OSError: It cannot be made.
    """
    if not path.is_dir():
        make_private_folder(path.parent)
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError as error:  # what is there is a file, which this says better
            reason = os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, reason, str(path)) from error
    return path


def make_home(home: Path) -> Path:
    """Make a project's `.trackyard`, which nobody else may enter and git leaves out; give it back.

    A folder of another name that is there already is used as it is.

    Raises:
        OSError: It cannot be made.
    """
    is_ours = home.name == ".trackyard" or not home.exists()
    make_private_folder(home)
    ignored = home / ".gitignore"
    if is_ours and not os.path.lexists(ignored):
        with suppress(OSError):  # a full disk takes the rest neither, which is said there
            write_whole(ignored, "*\n")
    return home


def make_private_file(path: Path) -> None:
    """Make an empty file that nobody else may read, for a library that opens it by its name.

    Raises:
        OSError: It cannot be made.
    """
    if not os.path.lexists(path):
        os.close(open_private(path))


@contextmanager
def replacing(path: Path, name: str | None = None) -> Iterator[Path]:
    """Give the path of a file that is to be written, and takes another one's place then.

    Who reads that one meanwhile sees what it was before. Where writing raises, it stays.

    Args:
        path: What is replaced. Its folder is there.
        name: What the file's own name begins with until then, where somebody finds whole files by
            their names; that of `path` by default.

    Raises:
        OSError: It cannot be replaced.
    """
    beside = path.with_name(f"{(name or path.name)[:200]}.{os.getpid()}-{os.urandom(2).hex()}")
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def put_file(source: Path, target: Path, *, by_link: bool = False) -> None:
    """Put a file in another place, whole or not at all, sharing its blocks where the disk can.

    Args:
        source: A regular file.
        target: Where; its folder is made, and what is there is replaced.
        by_link: Nobody changes the content any more: link it where both are on one disk.

    Raises:
        OSError: It cannot be read or written.
        ValueError: It is no regular file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part:
        if by_link and source.is_file():
            with suppress(OSError):  # on another disk, of another user, or linked too often
                os.link(source.resolve(), part)
                return
        _copy_file(source, part, 0o666)


def write_whole(
    path: Path, data: str | bytes, *, is_synced: bool = False, mode: int = 0o600
) -> None:
    """Write a file whole or not at all, also where the process is killed.

    It is written beside and then put in its place, so that who reads meanwhile sees the old one.

    Args:
        path: Where. Its folder is there.
        data: What; a text is written as UTF-8.
        is_synced: Wait for the disk, so that it outlives a loss of power, too.
        mode: Who may read and write it; its owner alone by default.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    with replacing(path) as beside, opened(open_private(beside, os.O_EXCL)) as file:
        os.fchmod(file.number, mode)  # whatever the umask takes away
        _write(file, data.encode() if isinstance(data, str) else data)
        if is_synced:
            os.fsync(file.checked())


def append_private(path: Path, text: str) -> None:
    """Append a text to a file.

    Args:
        path: The file, which is made where it is not there.
        text: What to append.

    Raises:
        OSError: It cannot be written.
    """
    with opened(open_private(path, os.O_APPEND)) as file:
        _write(file, text.encode())


def touch_private(path: Path) -> None:
    """Make a file, or have it look as if it was written now; a link is not followed.

    Raises:
        OSError: It cannot be made.
    """
    with opened(open_private(path)) as file:
        os.utime(file.number)


def read_whole(path: Path) -> bytes:
    """Give what a file holds.

    Raises:
        OSError: It cannot be read.
    """
    with opened(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file:
        parts = []
        while part := os.read(file.checked(), _CHUNK):
            parts.append(part)
        file.checked()
        return b"".join(parts)


@contextmanager
def reading(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading.

    Raises:
        OSError: It cannot be opened.
    """
    with (
        opened(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file,
        open(file.number, "rb", closefd=False) as stream,
    ):
        yield stream


def _write(file: OwnFile, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file.checked(), left) :]


def is_recent(path: Path, seconds: float) -> bool:
    """Tell whether a file was touched a while ago at most; one from the future says nothing.

    Args:
        path: The file.
        seconds: How long ago at most. A clock that was set back leaves times of the future.

    Raises:
        OSError: It is not there.
    """
    return 0 <= time.time() - path.stat().st_mtime < seconds


def read_small(source: Path, most: int) -> bytes | None:
    """Give what a file holds as it is now; None where that is more than so much.

    Args:
        source: A regular file.
        most: Bytes.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no regular file: a device or a FIFO would never end.
    """
    file, size = _opened_regular(source)
    try:
        return os.read(file, size) if size <= most else None
    finally:
        os.close(file)


def copy_private(source: Path, target: Path) -> None:
    """Copy a file as it is now, in little memory, sharing its blocks where the disk can do that.

    What is appended meanwhile is left out, so that a file that grows all the time comes to an end.

    Args:
        source: A regular file.
        target: The copy; it must not be there.

    Raises:
        OSError: It cannot be read or written.
        ValueError: It is no regular file: a device or a FIFO would never end.
    """
    _copy_file(source, target, 0o600)


def _copy_file(source: Path, target: Path, mode: int) -> None:
    file, size = _opened_regular(source)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_EXCL
        copy = os.open(target, flags, mode)
        try:
            _copy(file, copy, size)
        finally:
            os.close(copy)
    finally:
        os.close(file)


def _opened_regular(source: Path) -> tuple[int, int]:
    """Open a regular file, and give its descriptor and size."""
    # O_NONBLOCK: opening a FIFO would wait for a writer.
    file = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise ValueError(f"{source} is no regular file")
    return file, status.st_size


def _copy(source: int, target: int, left: int) -> None:
    copy = os.copy_file_range if hasattr(os, "copy_file_range") else _copied_through_memory
    while left > 0:
        try:
            count = copy(source, target, min(left, _COPIED_AT_ONCE))
        except OSError as error:
            if copy is _copied_through_memory or error.errno not in _NO_COPY:
                raise
            copy = _copied_through_memory
            continue
        if count == 0:
            if copy is _copied_through_memory:
                return  # it was cut meanwhile
            copy = _copied_through_memory  # files of /proc and their like copy as empty
        left -= count


def _copied_through_memory(source: int, target: int, most: int) -> int:
    data = os.read(source, min(most, _CHUNK))
    written = 0
    while written < len(data):
        written += os.write(target, data[written:])
    return written


def synchronise_folder(folder: Path) -> None:
    """Have the disk hold which files a run's folder has, and what describes the run.

    Args:
        folder: The folder.

    Raises:
        OSError: The disk failed.
    """
    for path in (*folder.iterdir(), folder, folder.parent):
        if path.suffix == ".json" or path.is_dir():
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(file)
            finally:
                os.close(file)
