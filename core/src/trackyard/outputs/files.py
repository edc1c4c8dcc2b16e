"""How are files, folders and images stored that a step gives?"""

from __future__ import annotations

import atexit
import importlib
import io
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from trackyard.contract.errors import OutputError
from trackyard.outputs.values import decode, encode

if TYPE_CHECKING:
    import tarfile

# PNG keeps the pixels of these as they are.
_IMAGE_MODES = ("1", "L", "LA", "RGB", "RGBA", "I;16")
_IMAGE_MODULES = r"PIL\.(Image|\w+ImagePlugin)"
_NOTES = "trackyard"


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
        import tarfile

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
        import shutil
        import tarfile
        import tempfile

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
    """Images of Pillow, as PNG with their class and notes, such as EXIF, in a text of it.

    Of several frames it is the one that is shown, as Pillow itself copies and pickles images.
    """

    name = "image"
    suffix = ".png"

    def can_save(self, value: Any) -> bool:
        """Images of Pillow's own classes, of whose pixels PNG loses nothing."""
        module = sys.modules.get("PIL.Image")
        if module is None or not isinstance(value, module.Image) or value.mode not in _IMAGE_MODES:
            return False
        value.load()  # which may add notes
        encode(value.info)
        return re.fullmatch(_IMAGE_MODULES, type(value).__module__) is not None

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the pixels, and what Pillow itself would pickle beside them."""
        from PIL import Image, PngImagePlugin

        info, mode, size, palette, pixels, *others = value.__getstate__()
        kind = type(value)
        notes = PngImagePlugin.PngInfo()
        state = encode([kind.__module__, kind.__qualname__, info, palette, others])
        notes.add_text(_NOTES, json.dumps(state))
        buffer = io.BytesIO()  # Pillow wants to seek
        Image.frombytes(mode, size, pixels).save(buffer, format="PNG", pnginfo=notes)
        file.write(buffer.getbuffer())

    def load(self, file: BinaryIO) -> Any:
        """Read the pixels and make an image of the same class."""
        from PIL import Image

        read = Image.open(io.BytesIO(file.read()))
        read.load()
        if _NOTES not in read.info:  # by an older Trackyard
            return read
        module, name, info, palette, others = decode(json.loads(read.info[_NOTES]))
        if re.fullmatch(_IMAGE_MODULES, module) is None:
            raise ValueError(f"{module} is no module of Pillow")
        kind = getattr(importlib.import_module(module), name)
        if not issubclass(kind, Image.Image):
            raise TypeError(f"{module}.{name} is no class of images")
        image = kind.__new__(kind)
        image.__setstate__([info, read.mode, read.size, palette, read.tobytes(), *others])
        return image
