"""How are files, folders and images stored that a step gives?"""

from __future__ import annotations

import atexit
import io
import os
import shutil
import stat
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from trackyard.errors import OutputError

# PNG keeps the pixels of these as they are.
_IMAGE_MODES = ("1", "L", "LA", "RGB", "RGBA", "I;16")


class PathMaterializer:
    """The file or folder that a path names, with its content; loading gives a copy's path.

    Links are followed: what they lead to is stored, and not where it was.
    """

    name = "path"
    suffix = ".tar"

    def can_save(self, value: Any) -> bool:
        """Paths of what is there, and links that lead nowhere, which `save` refuses."""
        if type(value) is not type(Path()):
            return False
        is_broken = value.is_symlink() and not value.exists()
        return value.is_file() or value.is_dir() or is_broken

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write an archive of it.

        Raises:
            OutputError: Something of it cannot be read, or would not come back.
        """
        name = Path(os.path.normpath(value.absolute())).name or "folder"  # of `..`, too
        with tarfile.open(fileobj=file, mode="w|", dereference=True) as archive:
            try:
                _add(archive, value, name, ())
            except OSError as error:
                where = error.filename or value
                problem = error.strerror or error
                raise OutputError(f"{where}: cannot be stored: {problem}") from error

    def load(self, file: BinaryIO) -> Any:
        """Unpack it to a temporary folder, which is there as long as the process."""
        folder = Path(tempfile.mkdtemp(prefix="trackyard-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        with tarfile.open(fileobj=file, mode="r|") as archive:
            archive.extractall(folder, filter="data")
        (found,) = folder.iterdir()
        return found


def _add(archive: tarfile.TarFile, path: Path, name: str, above: tuple[Path, ...]) -> None:
    """Add a file, or a folder with all that is in it."""
    status = path.stat()
    if stat.S_ISREG(status.st_mode):
        archive.add(path, name, recursive=False)
        return
    if not stat.S_ISDIR(status.st_mode):
        raise OutputError(f"{path}: cannot be stored: it is no file and no folder")
    for folder in above:
        if folder.samefile(path):
            raise OutputError(f"{path}: cannot be stored: the link leads back to {folder}")
    archive.add(path, name, recursive=False)
    for inner in sorted(path.iterdir()):
        _add(archive, inner, f"{name}/{inner.name}", (*above, path))


class ImageMaterializer:
    """Images of Pillow, as PNG."""

    name = "image"
    suffix = ".png"

    def can_save(self, value: Any) -> bool:
        """Images of whose pixels PNG loses nothing."""
        module = sys.modules.get("PIL.Image")
        return module is not None and isinstance(value, module.Image) and value.mode in _IMAGE_MODES

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the pixels."""
        buffer = io.BytesIO()  # Pillow wants to seek
        value.save(buffer, format="PNG")
        file.write(buffer.getbuffer())

    def load(self, file: BinaryIO) -> Any:
        """Read the pixels."""
        from PIL import Image

        image = Image.open(io.BytesIO(file.read()))
        image.load()
        return image
