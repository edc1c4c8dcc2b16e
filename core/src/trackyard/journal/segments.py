"""What is one file of a journal while it is written, and where may it be a memory map?"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from functools import lru_cache
from pathlib import Path

from trackyard.journal.frames import encode_frame
from trackyard.system.descriptors import OwnFile, identity_of, opened, others_of
from trackyard.system.files import open_private
from trackyard.system.interruption import came_from_signal

SMALLEST_SEGMENT, LARGEST_SEGMENT = 64 * 1024, 16 * 1024 * 1024
# Kept free in each segment, so that the run's end fits on a full disk.
RESERVE = 16 * 1024
# How much is written until someone looks whether the file is still there.
_BETWEEN_LOOKS = 64 * 1024

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What a file system says that cannot preallocate or map at all.
_NO_MAP = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EACCES}


def open_segment(
    path: Path, size: int, smallest: int, salt: int, *, is_mapped: bool = True
) -> WrittenSegment:
    """Make a new file.

    Args:
        path: Its path.
        size: Bytes that it is to hold.
        smallest: Bytes that it may have instead where the disk has not that much room.
        salt: The salt of its frames.
        is_mapped: It is preallocated and mapped where that can be: dear to make and to end, and
            cheap to write.

    Raises:
        OSError: It cannot be made. A full disk is noticed here, where the file is preallocated,
            and not as a SIGBUS when the map is written.
    """
    file = open_private(path, os.O_EXCL)
    try:
        can_be = is_mapped and can_be_mapped(path.parent)
        room = _preallocated(file, size, smallest) if can_be else 0
    except OSError:
        os.close(file)
        path.unlink(missing_ok=True)
        raise
    if room:
        with IgnoredErrors():  # there is no memory for a map, or no descriptor
            return MappedSegment(file, room, salt)
        with IgnoredErrors():  # who reads takes zeros for what is still to be written
            os.ftruncate(file, 0)
    return WrittenSegment(file, size, salt)


def _preallocated(file: int, size: int, smallest: int) -> int:
    """Give the bytes that the disk keeps for a file; 0 where its file system keeps none."""
    while True:
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno in _NO_MAP:
                return 0
            if error.errno not in _NO_ROOM or size <= smallest:
                raise
            size = max(size // 4, smallest)
        else:
            return size


class WrittenSegment:
    """A file that gets one `os.write` for each record: where a map is unsafe or cannot be had.

    Attributes:
        salt: The salt of its frames.
        synced: The offset up to which the disk is known to hold it.
    """

    def __init__(self, file: int, size: int, salt: int) -> None:
        self.synced = 0
        self._file = OwnFile(file)
        self._is_closed = False
        self._size = size
        self._least = 0  # bytes that it has as long as nobody cuts it
        self._limit = min(size, _BETWEEN_LOOKS)
        self.salt = salt

    def write(self, sequence: int, payload: bytes, offset: int, reserve: int) -> int:
        """Write a frame at an offset; give the offset behind it, or 0 where it does not fit.

        Args:
            sequence: The frame's number.
            payload: What it holds.
            offset: Where it goes.
            reserve: How many bytes have to stay free behind it.
        """
        frame = encode_frame(sequence, payload, self.salt)
        end = offset + len(frame)
        if end > self._limit - reserve or self.is_gone():
            return 0
        written = 0
        try:
            while written < len(frame):
                written += os.pwrite(self._file.number, frame[written:], offset + written)
        except OSError:
            # A torn frame must not stand in the way of the next one.
            with IgnoredErrors():
                os.ftruncate(self._file.checked(), offset)
            raise
        self._least = end
        return end

    def goes_on(self) -> bool:
        """Raise the limit up to which nobody looks; False at the end, or where the file is gone."""
        if self._limit == self._size or self.is_gone():
            return False
        self._limit = min(self._limit + _BETWEEN_LOOKS, self._size)
        return True

    def is_gone(self) -> bool:
        """Tell whether someone has removed the file, has cut it or has closed its descriptor."""
        try:
            status = os.fstat(self._file.checked())
        except OSError:
            return True
        return status.st_nlink == 0 or status.st_size < self._least

    def read(self, start: int, end: int) -> bytes:
        """Give what was written between two offsets; nothing where it cannot be read any more.

        Args:
            start: The first offset.
            end: The one behind the last.
        """
        try:
            return os.pread(self._file.checked(), end - start, start)
        except OSError:
            return b""

    def synchronise(self, end: int) -> None:
        """Have the disk hold what was written up to an offset.

        Raises:
            OSError: The disk failed. It must not be asked for the same again.
        """
        try:
            number = os.dup(self._file.checked())
        except OSError:
            if self._is_closed:
                return  # it was synchronised before
            raise
        with opened(number) as file:
            getattr(os, "fdatasync", os.fsync)(file.number)
        self.synced = max(self.synced, end)

    def close(self, length: int) -> None:
        """Cut the file to its length."""
        self._is_closed = True
        with IgnoredErrors():
            os.ftruncate(self._file.checked(), length)
        self.let_go()

    def let_go(self) -> None:
        """Close the file without touching it, as a forked child does."""
        self._file.close()


class MappedSegment(WrittenSegment):
    """A file that is preallocated and mapped into memory. It takes one descriptor.

    Raises:
        OSError: There is no memory for the map, or no descriptor; the file stays open.
    """

    def __init__(self, file: int, size: int, salt: int) -> None:
        self._map, kept = _mapped(file, size)
        super().__init__(kept, size, salt)
        self._least = size

    def write(self, sequence: int, payload: bytes, offset: int, reserve: int) -> int:
        """Write a frame at an offset; give the offset behind it, or 0 where it does not fit.

        Args:
            sequence: The frame's number.
            payload: What it holds.
            offset: Where it goes.
            reserve: How many bytes have to stay free behind it.
        """
        frame = encode_frame(sequence, payload, self.salt)
        end = offset + len(frame)
        if end > self._limit - reserve:
            return 0
        self._map[offset:end] = frame
        return end

    def let_go(self) -> None:
        """Close the file without touching it, as a forked child does."""
        if _takes_descriptor() and not self._file.is_ours() and identity_of(self._file.number):
            # Closing the map would close what has its number by now, and so would forgetting it.
            _never_forget(self._map)
            return
        self._map.close()
        self._file.close()


def _takes_descriptor() -> bool:
    """Tell whether a map keeps a descriptor of its own; before Python 3.13 it always does."""
    return sys.version_info < (3, 13)


def _mapped(file: int, size: int) -> tuple[mmap.mmap, int]:
    """Map a file; give the map, and the only descriptor of the file that is open then.

    Raises:
        OSError: It cannot be mapped.
    """
    if not _takes_descriptor():
        return mmap.mmap(file, size, trackfd=False), file  # type: ignore[call-arg,unused-ignore]
    free = os.dup(file)  # mostly the number that the map's own descriptor gets
    os.close(free)
    mapped = mmap.mmap(file, size)
    others = [free] if identity_of(free) == identity_of(file) else others_of(file)
    if len(others) != 1:
        return mapped, file
    os.close(file)
    return mapped, others[0]


def _never_forget(thing: object) -> None:
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class IgnoredErrors:
    """Go on where the operating system refuses something that is not needed."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> bool:
        return isinstance(error, OSError | AttributeError) and not came_from_signal(error)


# There a map is not coherent between machines, or a lost server ends the process with SIGBUS.
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "fuse",
    "gluster",
    "gpfs",
    "lustre",
    "beegfs",
)


def can_be_mapped(folder: Path) -> bool:
    """Tell whether files in a folder may be preallocated and mapped."""
    return hasattr(os, "posix_fallocate") and not file_system_of(folder).startswith(_NETWORK)


@lru_cache(maxsize=256)
def file_system_of(folder: Path) -> str:
    """Name the type of a folder's file system, such as `ext4`; an empty text where unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    best, kind = "", ""
    resolved = str(folder.resolve())
    for line in mounts.splitlines():
        _, place, type_, *_ = line.split(" ")
        place = place.replace("\\040", " ")
        inside = resolved == place or resolved.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, type_
    return kind
