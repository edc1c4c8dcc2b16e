"""Where do the outputs of steps lie, and how are they found again?"""

from __future__ import annotations

import hashlib
import posixpath
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.errors import OutputError
from trackyard.materializers import materializer_for, materializer_named

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


@attrs.frozen
class StoredOutput:
    """Where a step's output lies.

    Attributes:
        uri: Full address in the artifact store.
        materializer: Name of its format.
        size: Bytes.
        sha256: Digest of the bytes, as hexadecimal digits.
    """

    uri: str
    materializer: str
    size: int
    sha256: str


class ArtifactStore:
    """A folder on any file system that fsspec knows.

    Args:
        url: A path or URL such as `s3://bucket/folder` or `memory://outputs`.
        is_trusted: Pickles are loaded from it; they run code when they are loaded.
    """

    def __init__(self, url: str, *, is_trusted: bool = True) -> None:
        self.url = url.rstrip("/")
        self.is_trusted = is_trusted

    def save(self, path: str, value: Any) -> StoredOutput:
        """Store a value under a relative path, to which the format's suffix is added.

        Raises:
            OutputError: No format can hold the value, or the store cannot be written.
        """
        materializer = materializer_for(value)
        try:
            data = materializer.save(value)
        except Exception as error:
            raise OutputError(
                f"an output of type {type(value).__name__} cannot be stored: "
                f"{type(error).__name__}: {error}"
            ) from error
        uri = posixpath.join(self.url, path + materializer.suffix)
        try:
            target = self._path(uri)
            self._file_system.makedirs(posixpath.dirname(target), exist_ok=True)
            self._file_system.pipe_file(target, data)
        except Exception as error:  # each file system has errors of its own
            raise OutputError(f"{uri}: cannot be written: {error}") from error
        return StoredOutput(uri, materializer.name, len(data), hashlib.sha256(data).hexdigest())

    def load(self, stored: StoredOutput) -> Any:
        """Load a value.

        Raises:
            OutputError: It is gone, damaged, of an unknown format, or an untrusted pickle.
        """
        if stored.materializer == "cloudpickle" and not self.is_trusted:
            raise OutputError(f"{stored.uri}: is a pickle, and {self.url} is not marked as trusted")
        try:
            data = self._file_system.cat_file(self._path(stored.uri))
        except Exception as error:
            raise OutputError(f"{stored.uri}: cannot be read: {error}") from error
        if hashlib.sha256(data).hexdigest() != stored.sha256:
            raise OutputError(f"{stored.uri}: has been changed since it was stored")
        try:
            return materializer_named(stored.materializer).load(data)
        except KeyError:
            raise OutputError(f"{stored.uri}: unknown format {stored.materializer!r}") from None
        except Exception as error:
            raise OutputError(
                f"{stored.uri}: cannot be loaded: {type(error).__name__}: {error}"
            ) from error

    @cached_property
    def _file_system(self) -> AbstractFileSystem:
        from fsspec.core import url_to_fs  # 90 ms

        file_system, _ = url_to_fs(self.url)
        return file_system

    def _path(self, uri: str) -> str:
        # fsspec's own helper; `url_to_fs` would look the file system up each time.
        return str(self._file_system._strip_protocol(uri))  # noqa: SLF001
