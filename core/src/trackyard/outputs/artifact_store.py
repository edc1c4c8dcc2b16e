"""Where do the outputs of steps lie, and how are they found again?"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import posixpath
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from trackyard.contract.errors import ConfigError, OutputError
from trackyard.contract.materializers import Materializer, StoredOutput, needs_trust
from trackyard.outputs.formats import PICKLE, Materializers
from trackyard.outputs.keeping import KeptOutput, KeptOutputs
from trackyard.outputs.local_files import LocalFiles, is_local
from trackyard.outputs.punctual import PunctualFile, in_time
from trackyard.system.descriptors import FollowedFolder
from trackyard.system.files import make_home, make_private_folder
from trackyard.system.stamps import is_stamped, stamp_of
from trackyard.system.waiting import result_within

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from fsspec import AbstractFileSystem

_LARGE = 1 << 20
_HERE = {"file", "local", "memory"}  # file systems of this machine
_BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"}
_REST = 600.0  # seconds until one that hangs is asked again
_PATIENCE = 60.0  # seconds that a remote store may take to answer before the first step
_STAMP = ".stamp"  # added to the name of a file that runs code when it is loaded

logger = logging.getLogger("trackyard")

_T = TypeVar("_T")


class ArtifactStore:
    """A folder on any file system that fsspec knows.

    Args:
        url: A path or URL such as `s3://bucket/folder` or `memory://outputs`.
        is_trusted: Pickles are loaded from it, and other formats that run code when they are
            loaded; None: those that this user has stored.
        materializers: The formats that it knows.
        home: The project's `.trackyard`: what lies there is its owner's alone.
        stack: The stack whose store it is, to say where to write that it is trusted.
        kept: Where outputs wait that it could not take; without it they fail.
    """

    def __init__(
        self,
        url: str,
        *,
        is_trusted: bool | None = True,
        materializers: Materializers | None = None,
        home: Path | None = None,
        stack: str = "default",
        kept: KeptOutputs | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._stack = stack
        self.is_trusted = is_trusted
        self._home = home if home is not None and Path(self._url).is_relative_to(home) else None
        self._place: FollowedFolder | None = None
        self._materializers = materializers or Materializers()
        self._own_digests: set[str] = set()
        self._kept = kept
        self._was_away = False
        self._ask_at = 0.0
        # What waits on the driver's machine, which this one may not see.
        self.waits_elsewhere: frozenset[str] = frozenset()

    @property
    def url(self) -> str:
        """Where it is, also when the project that it lies in was moved since it was checked."""
        return self._url if self._place is None else str(self._place.path)

    def save(self, path: str, value: Any) -> StoredOutput:
        """Store a value under a relative path, to which the format's suffix is added.

        Args:
            path: Where in the store, without the format's suffix.
            value: What a step returned.

        Raises:
            OutputError: No format can hold the value, a file of it cannot be read, or the store
                cannot be written.
        """
        problem: Exception | None = None
        for materializer in self._materializers.fitting(value):
            uri = posixpath.join(self.url, path + materializer.suffix)
            try:
                if self._rests:
                    raise _StoreError from TimeoutError("it did not answer, and is asked later")
                return self._write(uri, materializer, value)
            except _StoreError as error:
                cause = error.__cause__
                if not isinstance(cause, TimeoutError):
                    self._remove(uri)  # half a file would keep a full disk full
                elif not self._rests:
                    self._ask_at = time.monotonic() + _REST
                if self._kept is not None and self.is_remote:
                    return self._keep(self._kept, uri, materializer, value, cause)
                raise OutputError(f"{uri}: cannot be written: {cause or repr(cause)}") from error
            except OutputError:  # no other format would hold what it names
                self._remove(uri)
                raise
            except Exception as error:  # it cannot hold it after all; another one may
                is_own = type(materializer).__module__.startswith("trackyard.")
                logger.log(
                    logging.DEBUG if is_own else logging.WARNING,
                    "format %r cannot hold an output of type %s, another one is tried: %s: %s",
                    materializer.name,
                    type(value).__name__,
                    type(error).__name__,
                    error,
                )
                problem = error
                self._remove(uri)
        raise OutputError(
            f"an output of type {type(value).__name__} cannot be stored: "
            f"{type(problem).__name__}: {problem}"
        ) from problem

    def trust(self, stored: StoredOutput) -> None:
        """Load this even if it runs code: this pipeline run has made it, in another process."""
        if stored.sha256 not in self._own_digests:
            self._stamp(stored)
        self._own_digests.add(stored.sha256)

    def has(self, stored: StoredOutput) -> bool:
        """Tell whether a value is still there as it was stored, and may be loaded."""
        with suppress(KeyError):  # what is of an unknown format is there all the same
            if self._is_refused(self._materializers.named(stored.materializer), stored):
                return False
        try:
            self._materializers.named(stored.materializer)
            self._check(stored)
        except (KeyError, OutputError):
            return False
        return True

    def remove(self, stored: StoredOutput) -> None:
        """Delete a value's file; one that is gone already is no error.

        Raises:
            OutputError: It does not lie in this store, or cannot be deleted.
        """
        places = [self._own_path(uri) for uri in self._places(stored)]
        try:
            for path in [path for path in places if path is not None]:
                if self._file_system.exists(path):
                    self._file_system.rm_file(path)
                    return
        except Exception as error:  # each file system has errors of its own
            raise OutputError(f"{stored.uri}: cannot be deleted: {error}") from error
        if places[0] is None:
            raise OutputError(f"{stored.uri}: does not lie in {self.url}; delete it where it lies")

    def _own_path(self, uri: str) -> str | None:
        """Give the path of what lies in this store; None for what does not, whatever a row says."""
        within, path = (posixpath.normpath(self._path(of)) for of in (self.url, uri))
        if "file" in self._protocols:  # links lead elsewhere
            within, path = (str(Path(of).resolve()) for of in (within, path))
        return path if path.startswith(f"{within}/") else None

    @property
    def is_remote(self) -> bool:
        """Tell whether it lies behind a network, and may be away for a while."""
        return not self._protocols & _HERE

    def checked(self, *, is_tried: bool = True) -> ArtifactStore:
        """Give this store; refuse one that no output can be written to, as far as is known before.

        Args:
            is_tried: A small file is written to a remote one, read and removed.

        Raises:
            ConfigError: It is one.
        """
        try:
            if self.is_remote and is_tried:
                result_within(_PATIENCE, self._try, name="artifact-store")
            elif "file" in self._protocols:
                folder = Path(self._path(self.url))
                if self._home is not None:
                    make_home(self._home)
                    make_private_folder(folder)
                folder.mkdir(parents=True, exist_ok=True)
                if self._home is not None:
                    self._place = FollowedFolder(folder)
                if not os.access(folder, os.W_OK):
                    raise PermissionError(f"{folder} may not be written")
        except Exception as error:  # each file system has errors of its own
            text = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(f"artifact_store {self.url}: cannot be used: {text}") from error
        return self

    def send_kept(self) -> str:
        """Send what it could not take before; give what went wrong, or an empty text."""
        for kept in self.waiting():
            try:
                self._send(kept)
            except Exception as error:  # each file system has errors of its own
                return " ".join(str(error).split()) or type(error).__name__
        return ""

    def send_again(self, seconds: float) -> None:
        """Send what waits, if the store is back; who waits for that, waits for some seconds.

        Args:
            seconds: How many.
        """
        if self._rests or not self.waiting():
            return
        try:
            result_within(seconds, self.send_kept, name="unsent")
        except TimeoutError:
            self._ask_at = time.monotonic() + _REST

    @property
    def _rests(self) -> bool:
        return time.monotonic() < self._ask_at

    def waiting(self) -> list[KeptOutput]:
        """List what it could not take, which waits on this machine."""
        if not self.is_remote:  # nothing ever waits for what lies here
            return []
        return [kept for kept in self._kept or () if kept.url == self.url]

    def load(self, stored: StoredOutput, *, trust: bool = False) -> Any:
        """Load a value.

        Args:
            stored: Where it lies.
            trust: Load it even if it is a pickle that somebody else has stored.

        Raises:
            OutputError: It is gone, damaged, of an unknown format, or an untrusted pickle.
        """
        try:
            materializer = self._materializers.named(stored.materializer)
        except KeyError:
            raise OutputError(
                f"{stored.uri}: unknown format {stored.materializer!r}; install the package that "
                "brings it, or, where the step is yours, run it again; "
                "where a newer Trackyard wrote it, type: pip install --upgrade trackyard"
            ) from None
        if not trust and self._is_refused(materializer, stored):
            kind = "pickle" if materializer is PICKLE else f"file of format {materializer.name!r}"
            raise OutputError(
                f"{stored.uri}: is a {kind}, which runs code when it is loaded, and {self.url} is "
                "not marked as trusted; it was not stored by you: where you trust who stored it, "
                "type: .load(trust=True); for all of this store write below "
                f"[stacks.{self._stack}] in trackyard.toml: artifact_store_is_trusted = true"
            )
        if needs_trust(materializer):
            self._check(stored)
        with closing(self._open(stored)) as file:
            reading = _HashedFile(file)
            try:
                value = materializer.load(cast("BinaryIO", reading))
            except Exception as error:
                self._check(stored)  # it may be damaged
                raise OutputError(
                    f"{stored.uri}: cannot be loaded: {type(error).__name__}: {error}"
                ) from error
            _check_digest(reading, stored)
        return value

    def _is_refused(self, materializer: Materializer, stored: StoredOutput) -> bool:
        if not needs_trust(materializer) or self.is_trusted or stored.sha256 in self._own_digests:
            return False
        return self.is_trusted is not None or not self._is_stamped(stored)

    def _stamp(self, stored: StoredOutput) -> None:
        """Note beside a file that runs code that a process of this user stored it."""
        if self.is_trusted is not None:
            return
        with suppress(Exception):  # each file system has errors of its own
            if needs_trust(self._materializers.named(stored.materializer)):
                path = self._path(stored.uri + _STAMP)
                stamp = stamp_of("output", stored.sha256).encode()
                self._in_time(lambda: self._file_system.pipe_file(path, stamp))

    def _is_stamped(self, stored: StoredOutput) -> bool:
        for uri in self._places(stored):
            with suppress(Exception):  # each file system has errors of its own
                stamp = self._file_system.cat_file(self._path(uri + _STAMP))
                if is_stamped(stamp.decode("ascii"), "output", stored.sha256):
                    return True
        return False

    def _places(self, stored: StoredOutput) -> Iterator[str]:
        """Give where a value lies, and where it does after the whole store has been moved."""
        yield stored.uri
        moved = posixpath.join(self.url, *stored.uri.split("/")[-2:])
        if moved != stored.uri:
            yield moved

    @cached_property
    def _protocols(self) -> set[str]:
        known = self._file_system.protocol
        return {known} if isinstance(known, str) else set(known)

    def _make_folder(self, path: str) -> None:
        """Make a file's folder unless opening does, or there are none: it would make a bucket."""
        if not isinstance(self._file_system, LocalFiles) and not self._protocols & _BUCKETS:
            self._file_system.makedirs(posixpath.dirname(path), exist_ok=True)

    def _try(self) -> None:
        """Write a small file, read it, and remove it."""
        path = self._path(posixpath.join(self.url, f".trackyard-{os.urandom(8).hex()}"))
        content = b"whether outputs can be stored here"
        self._make_folder(path)
        self._file_system.pipe_file(path, content)
        if self._file_system.cat_file(path) != content:
            raise OSError("what is written there is not what is read")
        self._file_system.rm_file(path)

    def _keep(
        self, kept: KeptOutputs, uri: str, materializer: Materializer, value: Any, cause: Any
    ) -> StoredOutput:
        """Keep on this machine what the store does not take, to be sent later.

        Raises:
            OutputError: That cannot be done either.
        """
        reason = " ".join(str(cause or repr(cause)).split())
        try:
            path = kept.make_folder(uri)
            with path.open("wb") as file, closing(_HashedFile(file)) as writing:
                materializer.save(value, cast("BinaryIO", writing))
                stored = StoredOutput(uri, materializer.name, writing.size, writing.digest())
            kept.note(self.url, stored)
        except (OSError, _StoreError) as error:
            raise OutputError(f"{uri}: cannot be written: {reason}") from error
        if not self._was_away:  # one warning, however many outputs wait
            logger.warning(
                "artifact store %s cannot be written: %s; outputs are kept in %s and sent later, "
                "or type: trackyard sync",
                self.url,
                reason,
                kept.folder,
            )
        self._was_away = True
        self.trust(stored)
        return stored

    def _send(self, kept: KeptOutput) -> None:
        import shutil

        path = self._path(kept.stored.uri)
        self._make_folder(path)
        with kept.path.open("rb") as source, self._file_system.open(path, "wb") as target:
            shutil.copyfileobj(source, target, _LARGE)
        with closing(self._file_system.open(path, "rb")) as sent:
            _check_digest(_HashedFile(sent), kept.stored)  # before the only copy is removed
        self._stamp(kept.stored)
        kept.forget()

    def _write(self, uri: str, materializer: Materializer, value: Any) -> StoredOutput:
        try:
            target = self._path(uri)
            self._in_time(lambda: self._make_folder(target))
            file = self._in_time(lambda: self._file_system.open(target, "wb"))
            file = PunctualFile(file) if self.is_remote else file
        except Exception as error:  # each file system has errors of its own
            raise _StoreError from error
        with closing(_HashedFile(file)) as writing:
            try:
                materializer.save(value, cast("BinaryIO", writing))
            finally:
                try:
                    file.close()
                except Exception as error:
                    raise _StoreError from error
            digest = writing.digest()
        stored = StoredOutput(uri, materializer.name, writing.size, digest)
        self.trust(stored)
        return stored

    def _open(self, stored: StoredOutput) -> Any:
        problem: Exception | None = None
        if self._kept is not None and self.is_remote:
            with suppress(OSError):  # it does not wait here
                return self._kept.path(stored.uri).open("rb")
        for uri in self._places(stored):
            try:
                self._refuse_devices(self._path(uri))
                return self._file_system.open(self._path(uri), "rb")
            except Exception as error:  # each file system has errors of its own
                problem = problem or error
        if stored.uri in self.waits_elsewhere:
            raise OutputError(
                f"{stored.uri}: is not in the artifact store yet, which could not be written: it "
                f"waits on the machine that runs the pipeline, and this step runs on "
                f"{platform.node()!r}; once the store is back, type there: trackyard sync"
            ) from problem
        raise OutputError(f"{stored.uri}: cannot be read: {problem}") from problem

    def _refuse_devices(self, path: str) -> None:
        """Refuse what is there and no regular file: a row may name a FIFO, or /dev/zero."""
        if isinstance(self._file_system, LocalFiles) or "file" not in self._protocols:
            return
        if Path(path).exists() and not Path(path).is_file():
            raise OSError(f"{path} is no regular file")

    def _check(self, stored: StoredOutput) -> None:
        """Read a file for its digest alone, before anything of it is used."""
        with closing(self._open(stored)) as file:
            _check_digest(_HashedFile(file), stored)

    def _remove(self, uri: str) -> None:
        """Take back a file that is not whole."""
        with suppress(Exception):  # each file system has errors of its own
            path = self._path(uri)
            if self._in_time(lambda: self._file_system.exists(path)):
                self._in_time(lambda: self._file_system.rm_file(path))

    def _in_time(self, call: Callable[[], _T]) -> _T:
        """Make a call of the file system, which a step waits for: a remote one may hang.

        Raises:
            TimeoutError: It does.
        """
        return in_time(call) if self.is_remote else call()

    @cached_property
    def _file_system(self) -> AbstractFileSystem | LocalFiles:
        if is_local(self.url):
            return LocalFiles(is_private=self._home is not None)
        from fsspec.core import url_to_fs  # 90 ms

        file_system, _ = url_to_fs(self.url)
        return file_system

    def _path(self, uri: str) -> str:
        if isinstance(self._file_system, LocalFiles):
            return self._file_system.path(uri)
        # fsspec's own helper; `url_to_fs` would look the file system up each time.
        return str(self._file_system._strip_protocol(uri))  # noqa: SLF001


class _StoreError(Exception):
    """The store cannot be written; the cause says why."""


class _HashedFile:
    """A file without a way back, whose bytes are counted and hashed as they pass.

    Large pieces are hashed beside the writing or reading of the next one: hashing lets other
    threads run.
    """

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._pending: Future[None] | None = None
        self.size = 0

    @cached_property
    def _hasher(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(1, "trackyard-hash")

    def write(self, data: Any) -> int:
        """Write bytes to the store, all of them."""
        view = memoryview(data).cast("B")
        self._update(view)
        try:
            self._file.write(view)
        except Exception as error:
            raise _StoreError from error
        return len(view)

    def read(self, size: int = -1) -> bytes:
        """Read bytes from the store."""
        data: bytes = self._file.read(size)
        self._update(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the store."""
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
        data: bytes = self._file.readline()
        self._update(data)
        return data

    def tell(self) -> int:
        """Give how many bytes have passed."""
        return self.size

    def flush(self) -> None:
        """Leave it to the store when it writes."""

    def readable(self) -> bool:
        """Tell that it reads."""
        return True

    def writable(self) -> bool:
        """Tell that it writes."""
        return True

    def seekable(self) -> bool:
        """Tell that there is no way back."""
        return False

    def digest(self) -> str:
        """Give the digest of all bytes so far, as hexadecimal digits."""
        self._wait()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the hashing; the file itself is closed by who opened it."""
        self._wait()
        if "_hasher" in vars(self):
            self._hasher.shutdown()

    def _update(self, data: Any) -> None:
        self.size += len(data)
        self._wait()
        if len(data) < _LARGE:
            self._hash.update(data)
        else:
            self._pending = self._hasher.submit(self._hash.update, data)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None


def _check_digest(file: _HashedFile, stored: StoredOutput) -> None:
    """Read what is left of a file and compare.

    Raises:
        OutputError: The file cannot be read, or is another one than was stored.
    """
    with closing(file):
        try:
            while file.read(16 * _LARGE):
                pass
        except Exception as error:
            raise OutputError(f"{stored.uri}: cannot be read: {error}") from error
        if file.digest() != stored.sha256:
            raise OutputError(f"{stored.uri}: has been changed since it was stored")
