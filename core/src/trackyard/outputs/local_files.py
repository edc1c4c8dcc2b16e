"""How are outputs in a folder of this machine written and read without fsspec?

It knows folders, too, and its import takes longer than all steps of a short pipeline.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from trackyard.system.files import make_private_folder

_PREFIXES = ("file://", "local://")


def is_local(url: str) -> bool:
    """Tell whether an artifact store is a folder that is named by its path alone.

    Args:
        url: The store's.
    """
    return url.startswith("/") and "::" not in url and "://" not in url


class LocalFiles:
    """The files below a folder, by those names of fsspec's that an artifact store uses.

    Args:
        is_private: What is made is its owner's alone.
    """

    protocol = ("file", "local")

    def __init__(self, *, is_private: bool) -> None:
        self._is_private = is_private

    def path(self, uri: str) -> str:
        """Give the path that a URI of a file means.

        Args:
            uri: A path, with or without a protocol before it.
        """
        for prefix in _PREFIXES:
            uri = uri.removeprefix(prefix)
        return uri if uri.startswith("/") else str(Path(uri).expanduser().absolute())

    def open(self, path: str, mode: str = "rb") -> BinaryIO:
        """Open a file: for reading one that is there, for writing also one that is not.

        A FIFO or a device is not waited for: a row of a store may name one.

        Args:
            path: The file's.
            mode: `rb`, or `wb`, which makes its folder, too.

        Raises:
            OSError: It cannot be opened, or is no regular file.
        """
        if mode == "wb":
            self.makedirs(os.path.dirname(path))  # noqa: PTH120 - called at each step
            return open(path, "wb", opener=self._make)
        return open(path, "rb", opener=_without_waiting)

    def makedirs(self, path: str, *, exist_ok: bool = True) -> None:
        """Make a folder, and those that it lies in.

        Args:
            path: The folder's.
            exist_ok: One that is there is no error.

        Raises:
            OSError: It cannot be made.
        """
        try:
            os.mkdir(path, 0o700 if self._is_private else 0o777)  # noqa: PTH102 - likewise
        except FileExistsError:
            if not exist_ok or not Path(path).is_dir():
                raise
        except FileNotFoundError:
            if self._is_private:
                make_private_folder(Path(path))
            else:
                Path(path).mkdir(parents=True, exist_ok=exist_ok)

    def exists(self, path: str) -> bool:
        """Tell whether there is a file."""
        return Path(path).exists()

    def rm_file(self, path: str) -> None:
        """Delete a file.

        Raises:
            OSError: It cannot be deleted.
        """
        Path(path).unlink()

    def cat_file(self, path: str) -> bytes:
        """Give a file's bytes.

        Raises:
            OSError: It cannot be read.
        """
        with self.open(path) as file:
            return file.read()

    def pipe_file(self, path: str, value: bytes) -> None:
        """Write a file.

        Args:
            path: The file's.
            value: Its bytes.

        Raises:
            OSError: It cannot be written.
        """
        with self.open(path, "wb") as file:
            file.write(value)

    def _make(self, path: str, flags: int) -> int:
        return os.open(path, flags, 0o600 if self._is_private else 0o666)


def _without_waiting(path: str, flags: int) -> int:
    number = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(number).st_mode):
        return number
    os.close(number)
    raise OSError(f"{path} is no regular file")
