"""How is kept what code of C and programs write to files that a process prints to?

Some runners give each of their processes a file as its stdout and stderr. Its descriptors are left
alone: what is appended to the file is read again, by a thread and around each `write` of Python's,
so that each byte is kept once, in the order of the file, and by the run that printed it.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread

from trackyard.console.keeping import Console
from trackyard.console.lines import StreamName
from trackyard.system.interruption import start_thread

_EVERY = 0.2  # seconds
_CHUNK = 1024 * 1024


class FollowedFile:
    """A file that a descriptor of this process appends to.

    Args:
        number: The descriptor.
        stream: What it is.
        console: What keeps what no `write` of Python's has brought.

    Raises:
        OSError: It is no file, or may not be read.
    """

    def __init__(self, number: int, stream: StreamName, console: Console) -> None:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("no file")
        self.place = found.st_dev, found.st_ino
        self._stream = stream
        self._console = console
        self._offset = found.st_size
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._lock = Lock()
        # Another description of the same file: that of the descriptor itself only writes.
        self._file = os.open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_CLOEXEC)

    def pass_on(self, console: Console | None = None) -> None:
        """Keep what was appended since the last call.

        Args:
            console: What keeps it, where it is known.
        """
        console = console or self._console
        with self._lock, suppress(OSError):
            size = os.fstat(self._file).st_size
            self._offset = min(self._offset, size)  # somebody has emptied it
            while data := os.pread(self._file, min(_CHUNK, size - self._offset), self._offset):
                self._offset += len(data)
                console.write(self._stream, self._decoder.decode(data))

    def close(self) -> None:
        """Read no more."""
        os.close(self._file)


@contextmanager
def followed_files(console: Console) -> Iterator[dict[int, FollowedFile]]:
    """Keep what goes to the files of stdout and stderr; give them by their descriptors.

    Args:
        console: What keeps it.
    """
    files: dict[int, FollowedFile] = {}
    for number, stream in ((1, "out"), (2, "err")):
        with suppress(OSError):  # a pipe, a terminal, nothing, or a system without /proc
            file = FollowedFile(number, stream, console)  # type: ignore[arg-type]
            same = next((other for other in files.values() if other.place == file.place), None)
            if same is not None:
                file.close()
            files[number] = same or file
    unique, over = set(files.values()), Event()

    def follow() -> None:
        while not over.wait(_EVERY):
            for file in unique:
                file.pass_on()

    thread = Thread(target=follow, name="trackyard-console", daemon=True)
    if unique:
        start_thread(thread)
    try:
        yield files
    finally:
        over.set()
        if unique:
            thread.join()
        for file in unique:
            file.pass_on()
            file.close()
