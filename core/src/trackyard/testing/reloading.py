"""What does another process see that loads what a format has saved, and saves it again?

    python -m trackyard.testing.reloading FOLDER

FOLDER has the format and the files. What happens is watched by Python's audit hooks, which stay for
as long as a process lives.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from trackyard.testing import values

# Events of Python's that say that a file runs code, or that only this version of Python reads it.
_OF_CODE = ("pickle.find_class", "exec", "os.system", "subprocess.Popen")
_OF_VERSION = ("marshal.loads", "marshal.load", "marshal.dumps", "code.__new__")


class Stream:
    """A file as the artifact store gives one: it cannot seek.

    Args:
        data: What is read from it.
        room: How many bytes can be written, before its disk is full.
    """

    closed = False

    def __init__(self, data: bytes = b"", room: int | None = None) -> None:
        self._file = io.BytesIO(data)
        self._room = room
        self.size = 0
        self.is_closed = False

    def write(self, data: Any) -> int:
        """Write bytes, all of them."""
        view = memoryview(data).cast("B")
        if self._room is not None and self.size + len(view) > self._room:
            raise OSError(28, "No space left on device")
        self.size += len(view)
        return self._file.write(view)

    def read(self, size: int = -1) -> bytes:
        """Read bytes."""
        data = self._file.read(size)
        self.size += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write pieces, one after the other."""
        for line in lines:
            self.write(line)

    def __iter__(self) -> Iterator[bytes]:
        """Give the lines, as each file does."""
        return iter(self.readline, b"")

    def readline(self) -> bytes:
        """Read up to a line's end."""
        data = self._file.readline()
        self.size += len(data)
        return data

    def tell(self) -> int:
        """Give how many bytes have passed."""
        return self.size

    def seek(self, *_: int) -> int:
        """Refuse, as a stream into a bucket does."""
        raise io.UnsupportedOperation("the file cannot seek: it may be a stream into a bucket")

    def flush(self) -> None:
        """Do nothing: it is the store's when it writes."""

    def close(self) -> None:
        """Note it, and do nothing: it is the store's when it closes."""
        self.is_closed = True

    def readable(self) -> bool:
        """Tell that it reads."""
        return True

    def writable(self) -> bool:
        """Tell that it writes."""
        return True

    def seekable(self) -> bool:
        """Tell that there is no way back."""
        return False

    def written(self) -> bytes:
        """Give what was written."""
        return self._file.getvalue()


def saved(materializer: Any, value: Any, room: int | None = None) -> bytes:
    """Give what a format writes of a value.

    Args:
        materializer: The format.
        value: The value.
        room: Bytes that the disk can take; None for any number.
    """
    stream = Stream(room=room)
    materializer.save(value, cast("BinaryIO", stream))
    return stream.written()


def loaded(materializer: Any, data: bytes) -> Any:
    """Give what a format reads from a file, which is gone afterwards.

    Args:
        materializer: The format.
        data: What the file holds.
    """
    stream = Stream(data)
    try:
        return materializer.load(cast("BinaryIO", stream))
    finally:
        stream._file.close()  # noqa: SLF001 - one file


def main() -> None:
    """Load and save each file twice: what is imported is imported the first time."""
    folder = Path(sys.argv[1])
    materializer = pickle.loads((folder / "materializer").read_bytes())  # noqa: S301 - our own
    for name in ("home", "temporary", "here"):
        (folder / name).mkdir()
    temporary = folder / "temporary"
    os.environ["HOME"], tempfile.tempdir = str(folder / "home"), str(temporary)
    os.chdir(folder / "here")
    watch = Watch()
    sys.addaudithook(watch)
    seen: list[dict[str, Any]] = []
    left: list[str] = []
    files = sorted((path for path in folder.glob("*.file")), key=lambda path: int(path.stem))
    for file in files:
        try:
            came, unwanted = _reloaded(materializer, file, watch)
        except Exception as error:
            sys.exit(f"{file.stem} {type(error).__name__}: {' '.join(str(error).splitlines())}")
        seen.append(came)
        left += unwanted
    for name in ("home", "here"):
        left += [str(path.relative_to(folder)) for path in (folder / name).rglob("*")]
    for trap in traps():
        try:
            loaded(materializer, trap)
        except Exception:  # noqa: S112 - it is no file of the format's: that is fine
            continue
    report = {"seen": seen, "left": left, "traps": len(values.TRAPS)}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


def _reloaded(materializer: Any, file: Path, watch: Watch) -> tuple[dict[str, Any], list[str]]:
    """Load and save a file; give what was seen of it, and the temporary files that it has left."""
    temporary = Path(str(tempfile.tempdir))
    data = file.read_bytes()
    saved(materializer, loaded(materializer, data))
    before = _open_files()
    with watch.during("load"):
        value = loaded(materializer, data)
    kept = set(temporary.iterdir())
    with watch.during("save"):
        again = saved(materializer, value)
    left = [f"temporary/{path.name}" for path in set(temporary.iterdir()) - kept]
    file.with_suffix(".again").write_bytes(again)
    return {**watch.taken(), "handles": len(_open_files()) - len(before)}, left


class Watch:
    """Notes what Python does meanwhile."""

    def __init__(self) -> None:
        self._phase = ""
        self._found: dict[str, list[str]] = {}

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an event of Python's."""
        if not self._phase:
            return
        if event in _OF_CODE and self._phase == "load":
            self._add("code", event)
        elif event in _OF_VERSION:
            self._add("version", event)
        elif event == "open" and self._phase == "save" and _is_writing(*arguments):
            self._add("written", str(arguments[0]))

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Watch a block."""
        self._phase = phase
        try:
            yield
        finally:
            self._phase = ""

    def taken(self) -> dict[str, list[str]]:
        """Give what was found, and begin anew."""
        found, self._found = self._found, {}
        return found

    def _add(self, kind: str, text: str) -> None:
        self._found.setdefault(kind, []).append(text)


def traps() -> Iterator[bytes]:
    """Give files that run code where they are loaded by what runs code."""
    place = "trackyard.testing.values"
    yield pickle.dumps(values.Trap())
    yield f"__import__('{place}').testing.values.went_off()".encode()
    yield f"!!python/object/apply:{place}.went_off []".encode()
    if "numpy" in sys.modules:
        import numpy

        file = io.BytesIO()
        numpy.save(file, numpy.array([values.Trap()], dtype=object), allow_pickle=True)
        yield file.getvalue()


def _is_writing(path: Any, mode: Any, flags: Any) -> bool:
    if str(path).endswith(".pyc") or "__pycache__" in str(path) or str(path) == os.devnull:
        return False
    if str(path).startswith(str(tempfile.tempdir)):
        return False
    is_mode = isinstance(mode, str) and any(letter in mode for letter in "wax+")
    return is_mode or bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR))


def _open_files() -> list[str]:
    return os.listdir("/dev/fd")  # noqa: PTH208 - a list of numbers


if __name__ == "__main__":
    main()
