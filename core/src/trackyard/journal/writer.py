"""How does a record reach the operating system before the log call returns?

A segment is preallocated and memory-mapped: copying into the map releases no lock of Python's and
makes no system call, and dirty pages outlive a killed process just as written ones do. Where a map
cannot be had (network file systems, no `posix_fallocate`) each record is one `os.write`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import RLock

import attrs

from trackyard.contract.records import Failure
from trackyard.journal.blobs import LARGEST_ENTRY, Blobs
from trackyard.journal.durability import GroupCommit, IntervalSync, JournalOptions
from trackyard.journal.encoding import LONGEST_KEY, encode_plain, encode_short
from trackyard.journal.entries import (
    FORMAT,
    USUAL_FORMAT,
    Entry,
    Holder,
    encode_artifact,
    encode_captured,
    encode_entry,
    encode_reference,
    is_header,
    shortened_failure,
)
from trackyard.journal.frames import frames_of, salt_of
from trackyard.journal.pending import mark_as_pending
from trackyard.journal.segments import (
    LARGEST_SEGMENT,
    RESERVE,
    SMALLEST_SEGMENT,
    IgnoredErrors,
    WrittenSegment,
    open_segment,
)
from trackyard.journal.sessions import role_in
from trackyard.system.descriptors import FollowedFolder, OwnFile
from trackyard.system.files import make_private_folder, open_private, synchronise_folder
from trackyard.system.forks import leave_in_forked_child
from trackyard.system.interruption import let_signals_through
from trackyard.system.life import forget_life, note_life
from trackyard.system.ranks import child_role, is_child

logger = logging.getLogger("trackyard")

_RETRY_AFTER = 1.0  # seconds until a disk that refused a segment is asked again


class JournalWriter:
    """Appends entries to a run's journal. Its threads share it; a forked child gets files anew.

    Nothing is made before the first entry. No method raises: what cannot be written is counted.

    Args:
        folder: The run's folder; its name is the run's id.
        role: How the file's name begins: `r` and the rank for a process that tracks the run;
            only such a process's lock says that the run is alive. A forked child gets another.
        options: How soon the disk has to hold what is written.
        makes_folder: Make the folder, also anew where somebody has deleted it; False for who comes
            after the run's end, when a deleted run is to stay deleted.
        session: How often the run was resumed before this is written.
        is_mapped: Its files are preallocated and mapped, where they can be, see `open_segment`.
        place: What the folder lies in, followed until there is a file of the journal to follow.
    """

    def __init__(
        self,
        folder: Path,
        role: str = "r0",
        options: JournalOptions | None = None,
        *,
        makes_folder: bool = True,
        session: int = 0,
        is_mapped: bool = True,
        place: FollowedFolder | None = None,
    ) -> None:
        self.last_metrics: dict[str, float] = {}
        self._folder, self._place, self._role = folder, place, role
        self._options = options or JournalOptions()
        self._makes_folder, self._is_mapped, self.session = makes_folder, is_mapped, session
        self._forget()
        leave_in_forked_child(self)

    def _forget(self) -> None:
        """Begin without files, as a new process does."""
        self.dropped = self._noted = 0
        self._format = USUAL_FORMAT
        # Replaced, never released: a lock that another thread held at the fork stays held.
        self._lock = RLock()
        self._blobs = Blobs(self._folder, is_synced=self._options.durability != "process")
        self._is_writing = False  # this thread is, or nobody may any more
        self._has_ended = self._has_end = self._has_refused = self._is_closed = False
        self._deferred: deque[bytes] = deque()
        self._preface: Entry | None = None  # goes before the first entry
        self._begun: Callable[[], object] | None = None  # is told of that
        self._segment: WrittenSegment | None = None
        self._next = (0, 0)  # sequence number and offset of the next frame
        self._lock_file: OwnFile | None = None
        self._number, self._retry_at = 0, 0.0
        self._interval_sync: IntervalSync | None = None
        is_awaited = self._options.durability == "record"
        self._commit = GroupCommit(self.synchronise) if is_awaited else None
        self.name = self._new_name()

    def _new_name(self) -> str:
        return f"{role_in(self._role, self.session)}-p{os.getpid()}-{os.urandom(2).hex()}"

    @property
    def unnoted(self) -> int:
        """How many entries were dropped of which the journal itself says nothing."""
        return self.dropped - self._noted

    @property
    def folder(self) -> Path:
        """The run's folder, wherever it was moved to."""
        if self._place is not None:
            self._folder = self._place.path / self._folder.name
        elif self._lock_file is not None and not self._folder.exists():
            self._follow(self._lock_file)
        return self._folder

    @property
    def blobs(self) -> Blobs:
        """Where files and large values of the run are stored."""
        if self._blobs.folder.parent != self.folder:
            self._blobs = Blobs(self._folder, is_synced=self._blobs.is_synced)
        return self._blobs

    def _follow(self, lock: OwnFile) -> None:
        """Go on in the folder that the project was moved to while it was written."""
        path = lock.path()
        if path is not None and path.name == f"{self.name}.lock":
            self._folder = path.parent
            note_life(lock, path)
            logger.warning(
                "the project was moved while run %s is tracked; its records go on to %s, and to "
                "its trackers by: trackyard sync",
                *(self._folder.name, self._folder),
            )

    @property
    def has_end(self) -> bool:
        """Tell whether the run's end is written, or nothing more can be."""
        return self._has_end or self._is_closed

    @property
    def has_entries(self) -> bool:
        """Tell whether anything was written."""
        return self._next[0] > 0

    def show_life(self) -> None:
        """Take the lock before there is anything to write: others must not take it for dead."""
        with self._lock, IgnoredErrors():
            if self._lock_file is None and not self._is_closed:
                make_private_folder(self.folder)
                self._open_lock()

    def append(self, entry: Entry) -> None:
        """Write an entry; when this returns, a killed process loses it no more.

        The file of an artifact is copied, or moved where it lies in `blobs.staging`.
        """
        if self._has_ended:
            self._refuse()
            return
        payload = self._encoded(entry)
        if payload:
            self._append(payload)

    def append_captured(self, holder: Holder, entries: list[Entry]) -> None:
        """Write what one call of an SDK logged as one entry, likewise.

        Args:
            holder: Where it is already.
            entries: Its parts.
        """
        if self._has_ended:
            self._refuse()
            return
        payloads = [payload for entry in entries if (payload := self._encoded(entry))]
        if payloads:
            self._append(encode_captured(holder, payloads))

    def append_newest(self, payload: bytes) -> bool:
        """Write an encoded entry that older versions do not know, likewise; False if it cannot."""
        if is_newest := self._has_newest_format():
            self._append(payload)
        return is_newest

    def _encoded(self, entry: Entry) -> bytes:
        """Give an entry as it is written; nothing where its file cannot be kept."""
        if entry.kind == "metrics":
            self.last_metrics.update(entry.data)
        if entry.kind != "artifact":
            return encode_entry(entry)
        try:
            blob = self.blobs.take(entry.data.path, entry.data.name)
        except (OSError, ValueError) as error:
            let_signals_through(error)
            self.count_as_dropped(error)
            return b""
        if entry.data.is_final and not self._has_newest_format():
            entry = entry._replace(data=attrs.evolve(entry.data, is_final=False))
        return encode_artifact(entry, blob)

    def _has_newest_format(self) -> bool:
        """Go on in a file that says that it is of the newest format; False where none can be had.

        Most journals hold nothing that an older version would not read.
        """
        with self._lock:
            if self._format == FORMAT or self._is_writing:  # below a signal handler
                return self._format == FORMAT
            self._is_writing, self._format = True, FORMAT
            try:
                if self._segment is not None:
                    self._next_segment(0, SMALLEST_SEGMENT)
            except OSError as error:
                let_signals_through(error)
                self._format = USUAL_FORMAT
            finally:
                self._is_writing = False
            return self._format == FORMAT

    def introduce(self, entry: Entry, begun: Callable[[], object] | None = None) -> bool:
        """Write an entry before the first one of others, or now where there are some.

        By itself it makes no file: a run of which nothing is written has none.

        Args:
            entry: The entry, such as the run's context.
            begun: Called when it is written for the first of others, with the journal's lock held.

        Returns:
            Whether it was taken; not once the run has ended.
        """
        with self._lock:
            if self._has_ended or self._is_writing:
                return False
            if not self.has_entries:
                self._preface = entry  # most steps log nothing: it is encoded when it is written
                self._begun = begun or self._begun
                return True
            self._is_writing = True
            try:
                return self._keep(encode_entry(entry), RESERVE)
            finally:
                self._is_writing = False

    def begin(self) -> None:
        """Write what stands before all other entries now, so that others can read it."""
        entry, self._preface = self._preface, None
        if entry is not None:
            self._append(encode_entry(entry))
            self._tell_begun()

    def _tell_begun(self) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            begun()

    def append_metrics(
        self,
        timestamp: int,
        step: float | None,
        metrics: dict[str, float],
        are_finite: bool = False,
    ) -> None:
        """Write numbers of one moment, likewise.

        Args:
            timestamp: The moment, in nanoseconds since the epoch.
            step: The training step, or None.
            metrics: The numbers.
            are_finite: None of them is NaN or infinite, for which JSON has no name.
        """
        payload = b""
        try:  # noqa: SIM105 - `suppress` would take a tenth of this call
            payload = encode_plain(("metrics", timestamp, step, metrics)) if are_finite else b""
        except UnicodeEncodeError:
            pass
        self._append(payload or encode_entry(Entry("metrics", timestamp, step, metrics)))
        self.last_metrics.update(metrics)

    def append_metric(self, timestamp: int, step: float | None, key: str, number: float) -> None:
        """Write one number, likewise: the call that stands in training loops.

        Args:
            timestamp: When, in nanoseconds since the epoch.
            step: The training step, or None.
            key: The metric's name.
            number: Its value.
        """
        if number - number != 0.0:  # NaN or infinite
            self.append_metrics(timestamp, step, {key: number})
            return
        try:
            encode = encode_short if len(key) <= LONGEST_KEY else encode_plain
            payload = encode(("metrics", timestamp, step, {key: number}))
        except UnicodeEncodeError:
            self.append_metrics(timestamp, step, {key: number})
            return
        self._append(payload)
        self.last_metrics[key] = number

    def end(self, entry: Entry) -> None:
        """Write the run's end, for which space was reserved, as the last entry, and close.

        It is written under the lock, so that nothing stands behind it, and the disk is waited for
        outside: a thread that asks the disk for others wants that lock. What is logged from here on
        is lost, and said once.

        Args:
            entry: The end.
        """
        with self._lock:
            if not self.has_end:
                self._write_end(entry)
        self.close()

    def _write_end(self, entry: Entry) -> None:
        """Write the end, again where something interrupted that. The lock is held."""
        self._folder = self.folder
        self._take_no_more()
        if self._segment is not None and self._segment.is_gone():
            self._segment.let_go()
            self._segment = None  # the end, at least, is written anew
        failure, before = entry.data, self.dropped
        if not self._keep(encode_entry(entry)) and isinstance(failure, Failure):
            shortened = entry._replace(data=shortened_failure(failure))
            if self._keep(encode_entry(shortened)):
                self.dropped = before
        self._has_end = True

    def _take_no_more(self) -> None:
        """Let nobody write from here on; note what was dropped before. The lock is held."""
        self._is_writing = self._has_ended = True
        self._retry_at = 0.0  # whatever the disk said a moment ago
        while self._deferred:
            self._keep(self._deferred.popleft(), RESERVE)
        count, before = self.unnoted, self.dropped
        if count:
            logger.warning("%s: %d record(s) were lost", self._folder, count)
            entry = Entry("dropped", time.time_ns(), None, {"count": count})
            if self._keep(encode_entry(entry)):
                self._noted = before
            self.dropped = before  # the note itself is nobody's

    def _keep(self, payload: bytes, reserve: int = 0) -> bool:
        """Write, in the space that is kept for a run's end; tell whether the disk took it."""
        try:
            self._write_slowly(payload, reserve)
        except OSError as error:
            let_signals_through(error)
            self.count_as_dropped(error)
            return False
        return True

    def synchronise(self) -> int:
        """Have the disk hold what was written, for the sake of power failures.

        Returns:
            The sequence number up to which it does, or will never do.
        """
        with self._lock:
            segment, (sequence, offset) = self._segment, self._next
            if segment is None or segment.synced == offset:
                return sequence - 1
        try:
            segment.synchronise(offset)  # without the lock: others go on writing
        except OSError as error:
            self._move_from(segment, error)
        return sequence - 1

    def close(self) -> None:
        """Cut the file to its length and release the lock that says that this process lives."""
        with self._lock:
            if not self._has_ended:
                self._take_no_more()
        if self._interval_sync is not None:
            self._interval_sync.stop()
            self._interval_sync = None
        if self._options.durability != "process":
            self.synchronise()
        with self._lock:
            if self._segment is not None:
                self._segment.close(self._next[1])
                self._segment = None
            if self._lock_file is not None:
                forget_life(self._folder / f"{self.name}.lock")
                self._lock_file.close()
                self._lock_file = None
            self._is_closed = True

    def _append(self, payload: bytes, reserve: int = RESERVE) -> None:
        """Write under the lock.

        A signal handler or finalizer that logs while this very thread is writing leaves its entry
        behind, and it is written before the lock is released.
        """
        lock = self._lock
        try:
            # `with` takes twice the time. A Ctrl-C right after this call finds the block's end.
            lock.acquire()
            if self._is_writing:
                self._set_aside(payload)
                return
            self._is_writing = True
            try:
                sequence, offset = self._next
                segment = self._segment
                end = segment.write(sequence, payload, offset, reserve) if segment else 0
                if end:
                    # One assignment: a Ctrl-C between two would give the next entry this number.
                    self._next = sequence + 1, end
                else:
                    self._write_slowly(payload, reserve)
                while self._deferred:
                    self._write_slowly(self._deferred.popleft(), RESERVE)
            except OSError as error:
                let_signals_through(error)
                if error.errno:  # the disk itself has been asked
                    self._retry_at = time.monotonic() + _RETRY_AFTER
                self.count_as_dropped(error)
            finally:
                self._is_writing = False
        finally:
            try:  # noqa: SIM105 - `suppress` would cost more than the rest of this
                lock.release()
            except RuntimeError:  # a Ctrl-C came while another thread held it
                pass
        if self._commit is not None:
            self._commit.wait_for(self._next[0] - 1)

    def _set_aside(self, payload: bytes) -> None:
        """Keep what comes while this thread is writing; refuse what comes after the end."""
        if self._has_ended:
            self._refuse()
        else:
            self._deferred.append(payload)

    def _refuse(self) -> None:
        """Count an entry that comes after the run's end, and say so for the first one."""
        self.dropped += 1
        if not self._has_refused:
            self._has_refused = True
            logger.warning(
                "%s: the run has ended; what is logged to it from now on is lost", self._folder
            )

    def _write_slowly(self, payload: bytes, reserve: int) -> None:
        """Write where there is no segment yet, where it is full, or where a look at it is due.

        What is very long gets here, too, since each segment is looked at often.
        """
        if len(payload) > LARGEST_ENTRY:
            payload = encode_reference(self.blobs.take_value(payload))
        if self._write_here(payload, reserve):
            return
        if self._options.durability != "process":
            self.synchronise()
        preface = b"" if self._preface is None else encode_entry(self._preface)
        length = len(preface) + len(payload)
        self._next_segment(length, RESERVE if reserve == 0 else SMALLEST_SEGMENT)
        if preface:
            self._preface = None
            self._write_here(preface, RESERVE)
        if not self._write_here(payload, reserve):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if preface:
            self._tell_begun()

    def _write_here(self, payload: bytes, reserve: int) -> bool:
        segment = self._segment
        while segment is not None:
            sequence, offset = self._next
            end = segment.write(sequence, payload, offset, reserve)
            if end:
                self._next = sequence + 1, end
                return True
            if not segment.goes_on():
                return False
        return False

    def count_as_dropped(self, error: Exception) -> None:
        """Count an entry that cannot be kept, and say so for the first one."""
        self.dropped += 1
        if self.dropped == 1:
            reason = getattr(error, "strerror", None) or error
            logger.warning("%s: records are lost: %s", self._folder, reason)

    def _next_segment(self, length: int, smallest: int) -> WrittenSegment:
        """Go on in a new file, with room for an entry of a length in bytes.

        Raises:
            OSError: It cannot be made now.
        """
        if self._is_closed:
            raise OSError(0, "the run has ended")
        if time.monotonic() < self._retry_at:
            raise OSError(0, "the disk refused them a moment ago")
        if self._segment is not None and self._segment.is_gone():
            logger.warning(
                "%s was deleted or cut while it was written, or its files were closed", self._folder
            )
        if self._makes_folder:
            make_private_folder(self.folder)  # or anew, if it was deleted
        if self._lock_file is None or not self._lock_file.is_ours():
            if self._role == "child" and not self._number:  # its rank may be known by now
                self._role = child_role()
                self.name = self._new_name()
            self._open_lock()
        # Counted first: after a Ctrl-C in here the next try takes another file.
        self._number = number = self._number + 1
        sequence = self._next[0]
        size = min(SMALLEST_SEGMENT * 4 ** (number - 1), LARGEST_SEGMENT)
        path = self._folder / f"{self.name}.{number:06d}.tyj"
        salt = salt_of(self._folder.name, self.name, number)
        room = max(size, length + 4096 + RESERVE)
        segment = open_segment(path, room, smallest, salt, is_mapped=self._is_mapped)
        header = {"format": self._format, "first_sequence": sequence, "pid": os.getpid()}
        entry = Entry("header", time.time_ns(), None, header)
        end = segment.write(sequence, encode_entry(entry), 0, 0)
        # Changed first and closed then: a child that is forked between must find open files.
        old, old_length = self._segment, self._next[1]
        self._segment = segment
        self._next = sequence + 1, end
        if old is not None:
            old.close(old_length)
        if self._options.durability != "process":
            self._prepare_for_power_failure()
        return segment

    def _prepare_for_power_failure(self) -> None:
        """Have the disk hold that there is a new file; begin to ask it every now and then."""
        with IgnoredErrors():
            synchronise_folder(self._folder)
        if self._options.durability == "interval" and self._interval_sync is None:
            self._interval_sync = IntervalSync(self.synchronise, self._options.sync_interval)

    def _move_from(self, segment: WrittenSegment, error: OSError) -> None:
        """Write once more, into a new file, what the disk has failed to hold.

        After a failure the system takes the pages for clean, so that a second try would succeed
        without writing them. The entries keep their numbers, hence no reader gets one twice.
        """
        with self._lock:
            if self._segment is not segment:
                return
            logger.warning("%s: the disk failed: %s", self._folder, error.strerror)
            sequence, offset = self._next
            frames = frames_of(segment.read(segment.synced, offset), segment.salt)
            lost = [frame for frame in frames if not is_header(frame.payload)]
            try:
                self._next = (lost[0].sequence - 1 if lost else sequence), offset
                new = self._next_segment(offset - segment.synced, SMALLEST_SEGMENT)
                for frame in lost:
                    self._write_here(frame.payload, RESERVE)
                new.synchronise(self._next[1])
            except OSError as again:
                self._next = max(self._next[0], sequence), self._next[1]
                logger.warning("%s: a power failure may cost records: %s", self._folder, again)

    def _open_lock(self) -> None:
        """Hold a lock for as long as this process lives."""
        path = self._folder / f"{self.name}.lock"
        self._lock_file = file = OwnFile(open_private(path))
        self._place = None  # the lock itself is followed
        with IgnoredErrors():  # some network file systems know no locks
            fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        note_life(file, path)
        if is_child(self.name):  # the run may have ended: somebody has to look again
            mark_as_pending(self._folder)

    def leave_to_parent(self) -> None:
        """In a forked child: let go of the parent's files, without touching what they hold."""
        try:
            if self._segment is not None:
                self._segment.let_go()
            if self._lock_file is not None:
                self._lock_file.close()
        except OSError as error:  # another thread was closing it at the fork
            logger.debug("%s: %s", self._folder, error)
        finally:
            # A child that outlives its killed parent must not keep the run alive.
            self._role = "child"
            self._forget()
