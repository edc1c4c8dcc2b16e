"""What is one file of a journal while it is written, and where may it be a memory map?"""

from __future__ import annotations

import errno
import mmap
import os
from functools import lru_cache
from pathlib import Path

from trackyard.journal.frames import encode_frame
from trackyard.system.files import open_private

SMALLEST_SEGMENT, LARGEST_SEGMENT = 64 * 1024, 16 * 1024 * 1024
# Kept free in each segment, so that the run's end fits on a full disk.
RESERVE = 16 * 1024
# How much is written until someone looks whether the file is still there.
_BETWEEN_LOOKS = 64 * 1024

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What a file system says that cannot preallocate or map at all.
_NO_MAP = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EACCES}


def open_segment(path: Path, size: int, smallest: int, salt: int) -> WrittenSegment:
    """Make a new file.

    Args:
        path: Its path.
        size: Bytes that it is to hold.
        smallest: Bytes that it may have instead where the disk has not that much room.
        salt: The salt of its frames.

    Raises:
        OSError: It cannot be made. A full disk is noticed here, where the file is preallocated,
            and not as a SIGBUS when the map is written.
    """
    file = open_private(path, os.O_EXCL)
    try:
        if can_be_mapped(path.parent):
            try:
                return MappedSegment(file, _preallocated(file, size, smallest), salt)
            except OSError as error:
                if error.errno not in _NO_MAP:
                    raise
        return WrittenSegment(file, size, salt)
    except OSError:
        os.close(file)
        path.unlink(missing_ok=True)
        raise


def _preallocated(file: int, size: int, smallest: int) -> int:
    while True:
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
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
        self._file = file
        self._is_closed = False
        self._size = size
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
        if end > self._limit - reserve:
            return 0
        written = 0
        try:
            while written < len(frame):
                written += os.pwrite(self._file, frame[written:], offset + written)
        except OSError:
            # A torn frame must not stand in the way of the next one.
            with IgnoredErrors():
                os.ftruncate(self._file, offset)
            raise
        return end

    def goes_on(self) -> bool:
        """Raise the limit up to which nobody looks; False at the end, or where the file is gone."""
        if self._limit == self._size or self.is_deleted():
            return False
        self._limit = min(self._limit + _BETWEEN_LOOKS, self._size)
        return True

    def is_deleted(self) -> bool:
        """Tell whether someone has removed the file."""
        return os.fstat(self._file).st_nlink == 0

    def read(self, start: int, end: int) -> bytes:
        """Give what was written between two offsets.

        Args:
            start: The first offset.
            end: The one behind the last.
        """
        return os.pread(self._file, end - start, start)

    def synchronise(self, end: int) -> None:
        """Have the disk hold what was written up to an offset.

        Raises:
            OSError: The disk failed. It must not be asked for the same again.
        """
        try:
            file = os.dup(self._file)
        except OSError:
            if self._is_closed:
                return  # it was synchronised before
            raise
        try:
            getattr(os, "fdatasync", os.fsync)(file)
        finally:
            os.close(file)
        self.synced = max(self.synced, end)

    def close(self, length: int) -> None:
        """Cut the file to its length."""
        self._is_closed = True
        with IgnoredErrors():
            os.ftruncate(self._file, length)
        os.close(self._file)

    def leave_to_parent(self) -> None:
        """In a forked child: let go of the file without touching it."""
        os.close(self._file)


class MappedSegment(WrittenSegment):
    """A file that is preallocated and mapped into memory."""

    def __init__(self, file: int, size: int, salt: int) -> None:
        super().__init__(file, size, salt)
        self._map = mmap.mmap(file, size)

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

    def close(self, length: int) -> None:
        """Cut the file to its length."""
        self._map.close()
        super().close(length)

    def leave_to_parent(self) -> None:
        """In a forked child: let go of the file without touching it."""
        self._map.close()
        super().leave_to_parent()


class IgnoredErrors:
    """Go on where the operating system refuses something that is not needed."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, OSError | AttributeError)


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
