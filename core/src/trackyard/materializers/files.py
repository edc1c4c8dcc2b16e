"""How are files, folders and images stored that a step gives?"""

from __future__ import annotations

import atexit
import io
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

# PNG keeps the pixels of these as they are.
_IMAGE_MODES = ("1", "L", "LA", "RGB", "RGBA", "I;16")


class PathMaterializer:
    """The file or folder that a path names, with its content; loading gives a copy's path."""

    name = "path"
    suffix = ".tar"

    def can_save(self, value: Any) -> bool:
        """Paths of what is there; others are left to pickle."""
        return isinstance(value, Path) and (value.is_file() or value.is_dir())

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write an archive of it."""
        with tarfile.open(fileobj=file, mode="w|") as archive:
            archive.add(value, arcname=value.resolve().name or "folder")

    def load(self, file: BinaryIO) -> Any:
        """Unpack it to a temporary folder, which is there as long as the process."""
        folder = Path(tempfile.mkdtemp(prefix="trackyard-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        with tarfile.open(fileobj=file, mode="r|") as archive:
            archive.extractall(folder, filter="data")
        (found,) = folder.iterdir()
        return found


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
