"""How does a record reach the operating system before the log call returns?

A segment is preallocated and memory-mapped: copying into the map releases no lock of Python's and
makes no system call, and dirty pages outlive a killed process just as written ones do. Where a map
cannot be had (network file systems, no `posix_fallocate`) each record is one `os.write`.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import secrets
import time
from collections import deque
from pathlib import Path
from threading import Lock, get_ident

from trackyard.forks import leave_in_forked_child
from trackyard.journal.entries import Entry, encode_entry, encode_metrics
from trackyard.journal.filesystems import can_be_mapped
from trackyard.journal.frames import encode_frame, salt_of

logger = logging.getLogger("trackyard")

FORMAT = "1.0"
# A segment is larger than the one before it, so that small runs stay small.
SMALLEST_SEGMENT, LARGEST_SEGMENT = 64 * 1024, 16 * 1024 * 1024
_RESERVE = 16 * 1024  # kept free in each segment, so that the run's end fits on a full disk
_RETRY_AFTER = 1.0  # seconds until a disk that refused a segment is asked again


class JournalWriter:
    """Appends entries to a run's journal. Its threads share it; a forked child gets files anew.

    Nothing is made before the first entry. No method raises: what cannot be written is counted.

    Args:
        folder: The run's folder; its name is the run's id.
        role: How the file's name begins: `r` and the rank for a process that tracks the run;
            only such a process's lock says that the run is alive.
    """

    def __init__(self, folder: Path, role: str = "r0") -> None:
        self.dropped = 0
        self._folder = folder
        self._role = role
        self._forget()
        leave_in_forked_child(self)

    def _forget(self) -> None:
        """Begin without files, as a new process does."""
        # Replaced, never released: a lock that another thread held at the fork stays held.
        self._lock = Lock()
        self._owner: int | None = None
        self._deferred: deque[bytes] = deque()
        self._segment: _Segment | None = None
        self._number = 0
        self._next = (0, 0)  # sequence number and offset of the next frame
        self._lock_file: int | None = None
        self._retry_at = 0.0
        self._is_closed = False
        self.name = f"{self._role}-p{os.getpid()}-{secrets.token_hex(2)}"

    def append(self, entry: Entry) -> None:
        """Write an entry; when this returns, a killed process loses it no more."""
        self._append(encode_entry(entry))

    def append_metrics(self, timestamp: int, step: float | None, metrics: dict[str, float]) -> None:
        """Write numbers of one moment, likewise: the call that stands in training loops."""
        self._append(encode_metrics(timestamp, step, metrics))

    def _append(self, payload: bytes, reserve: int = _RESERVE) -> None:
        """Write under the lock.

        A signal handler or finalizer that logs while this very thread is writing leaves its entry
        behind, and it is written before the lock is released.
        """
        thread = get_ident()
        if self._owner == thread:
            self._deferred.append(payload)
            return
        with self._lock:
            self._owner = thread
            try:
                self._write(payload, reserve)
                while self._deferred:
                    self._write(self._deferred.popleft(), _RESERVE)
            finally:
                self._owner = None

    @property
    def has_entries(self) -> bool:
        """Tell whether anything was written."""
        return self._next[0] > 0

    def append_end(self, entry: Entry) -> None:
        """Write the run's end, for which space was reserved, and a count of what was dropped."""
        if self._segment is not None and self._segment.is_deleted():
            with self._lock:  # someone has removed the folder: the end, at least, is written anew
                self._segment = None
        if self.dropped:
            dropped = Entry("dropped", entry.timestamp, None, {"count": self.dropped})
            self._append(encode_entry(dropped), reserve=0)
        self._append(encode_entry(entry), reserve=0)

    def synchronise(self) -> None:
        """Ask the disk to hold what was written, for the sake of power failures."""
        with self._lock:
            if self._segment is not None:
                self._segment.synchronise()

    def close(self) -> None:
        """Cut the file to its length and release the lock that says that this process lives."""
        with self._lock:
            if self._segment is not None:
                self._segment.close(self._next[1])
                self._segment = None
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None
            self._is_closed = True

    def _write(self, payload: bytes, reserve: int) -> None:
        sequence, offset = self._next
        try:
            end = 0
            if self._segment is not None:
                end = self._segment.write(sequence, payload, offset, reserve)
            if not end:
                segment = self._next_segment(len(payload))
                sequence, offset = self._next
                end = segment.write(sequence, payload, offset)
        except OSError as error:
            self._count_as_dropped(error)
        else:
            # One assignment: a Ctrl-C between two would give the next entry the same number.
            self._next = sequence + 1, end

    def _count_as_dropped(self, error: OSError) -> None:
        self.dropped += 1
        if error.errno:  # the disk itself has been asked
            self._retry_at = time.monotonic() + _RETRY_AFTER
        if self.dropped == 1:
            logger.warning("%s: records are lost: %s", self._folder, error.strerror or error)

    def _next_segment(self, length: int) -> _Segment:
        if self._is_closed:
            raise OSError(0, "the run has ended")
        if time.monotonic() < self._retry_at:
            raise OSError(0, "the disk refused them a moment ago")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # or anew, if it was deleted
        if self._lock_file is None:
            self._open_lock()
        # Counted first: after a Ctrl-C in here the next try takes another file.
        self._number = number = self._number + 1
        sequence = self._next[0]
        size = min(SMALLEST_SEGMENT * 4 ** (number - 1), LARGEST_SEGMENT)
        path = self._folder / f"{self.name}.{number:06d}.tyj"
        salt = salt_of(self._folder.name, self.name, number)
        segment = _Segment(path, max(size, length + 4096 + _RESERVE), salt)
        header = {"format": FORMAT, "first_sequence": sequence, "pid": os.getpid()}
        entry = Entry("header", time.time_ns(), None, header)
        end = segment.write(sequence, encode_entry(entry), 0)
        # Changed first and closed then: a child that is forked between must find open files.
        old, old_length = self._segment, self._next[1]
        self._segment = segment
        self._next = sequence + 1, end
        if old is not None:
            old.close(old_length)
        return segment

    def _open_lock(self) -> None:
        """Hold a lock for as long as this process lives."""
        self._lock_file = _open(self._folder / f"{self.name}.lock")
        with _IgnoredErrors():  # some network file systems know no locks
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def leave_to_parent(self) -> None:
        """In a forked child: let go of the parent's files, without touching what they hold."""
        try:
            if self._segment is not None:
                self._segment.leave_to_parent()
            if self._lock_file is not None:
                os.close(self._lock_file)
        except OSError as error:  # another thread was closing it at the fork
            logger.debug("%s: %s", self._folder, error)
        finally:
            self._forget()


class _Segment:
    """One file of a journal, memory-mapped where that is safe.

    Raises:
        OSError: The file cannot be made: a full disk is noticed here, when the file is
            preallocated, and not as a SIGBUS when the map is written.
    """

    def __init__(self, path: Path, size: int, salt: int) -> None:
        self._salt = salt
        self._size = size
        self._map: mmap.mmap | None = None
        self._file = _open(path, os.O_EXCL)
        try:
            if can_be_mapped(path.parent):
                os.posix_fallocate(self._file, 0, size)
                self._map = mmap.mmap(self._file, size)
        except OSError:
            os.close(self._file)
            path.unlink(missing_ok=True)
            raise

    def write(self, sequence: int, payload: bytes, offset: int, reserve: int = 0) -> int:
        """Write a frame at an offset; give the offset behind it, or 0 where it does not fit."""
        frame = encode_frame(sequence, payload, self._salt)
        end = offset + len(frame)
        if end > self._size - reserve:
            return 0
        if self._map is None:
            self._write_all(frame, offset)
        else:
            self._map[offset:end] = frame
        return end

    def _write_all(self, frame: bytes, offset: int) -> None:
        written = 0
        try:
            while written < len(frame):
                written += os.pwrite(self._file, frame[written:], offset + written)
        except OSError:
            # A torn frame must not stand in the way of the next one.
            with _IgnoredErrors():
                os.ftruncate(self._file, offset)
            raise

    def synchronise(self) -> None:
        with _IgnoredErrors():
            os.fdatasync(self._file)

    def close(self, length: int) -> None:
        if self._map is not None:
            self._map.close()
        with _IgnoredErrors():
            os.ftruncate(self._file, length)
        os.close(self._file)

    def is_deleted(self) -> bool:
        return os.fstat(self._file).st_nlink == 0

    def leave_to_parent(self) -> None:
        if self._map is not None:
            self._map.close()
        os.close(self._file)


class _IgnoredErrors:
    """Go on where the operating system refuses something that is not needed."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, OSError | AttributeError)


def _open(path: Path, flags: int = 0) -> int:
    flags |= os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)
