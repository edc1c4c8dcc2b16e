"""How do figures, images, tables, texts and files become files of a run?"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from trackyard.contract.records import ArtifactKind
from trackyard.redaction.redactor import Redactor
from trackyard.system.coercing import to_text
from trackyard.system.files import copy_private
from trackyard.tracking.json_texts import encoded, json_text
from trackyard.tracking.plain_values import PlainValues
from trackyard.tracking.tables import plain_columns


@attrs.frozen
class SavedFile:
    """A file that was written for an artifact.

    Attributes:
        path, kind, media_type: As of an `Artifact`.
        notes: What of the value was changed, and what to do about it.
    """

    path: Path
    kind: ArtifactKind
    media_type: str | None
    notes: tuple[str, ...] = ()


def files_of(path: Any, name: Any) -> list[tuple[str, Path]]:
    """Give the files that a path stands for, itself or those of a folder, and their names.

    Args:
        path: A file or folder.
        name: What to call it; its own name where this is empty.

    Raises:
        Exception: There is no such file; or the folder cannot be read.
    """
    try:
        source = Path(path)
        is_there = path != "" and source.exists()  # an empty text would mean the working directory
    except (TypeError, OSError):  # no path at all, or one that is too long
        is_there = False
    if not is_there:
        raise FileNotFoundError(f"there is no file {to_text(path)[:100]}")
    base = to_text(name) if name else source.absolute().name
    if not source.is_dir():
        return [(base, source)]
    files = sorted(p for p in source.rglob("*") if p.is_file() and not p.is_symlink())
    return [(f"{base}/{file.relative_to(source).as_posix()}", file) for file in files]


def with_suffix_of(name: str, path: Path) -> str:
    """Give an artifact's name with the suffix of the file that was written for it.

    Args:
        name: The name that the user gave.
        path: The file.
    """
    own, written = PurePosixPath(name).suffix, path.suffix
    return name if own == written else name.removesuffix(own) + written


def save_file(source: Path, path: Path) -> SavedFile:
    """Copy a file as it is now; the user may delete or change it the next moment.

    Args:
        source: The user's file.
        path: The copy.
    """
    copy_private(source, path)
    return SavedFile(path, "file", mimetypes.guess_type(path.name)[0])


def save_text(text: Any, path: Path) -> SavedFile:
    """Write a text; a name that ends in .html makes it a page.

    Args:
        text: The text, or a value whose text is meant.
        path: The file.
    """
    path.write_text(to_text(text), encoding="utf-8", errors="backslashreplace")
    media_type = mimetypes.guess_type(path.name)[0] or "text/plain"
    return SavedFile(path, "html" if media_type == "text/html" else "text", media_type)


def save_dict(value: Any, path: Path, redact: Callable[[str], str]) -> SavedFile:
    """Write a dict, list or object as JSON.

    Args:
        value: The value; what JSON has no name for becomes dicts, lists and texts.
        path: The file.
        redact: Gives a JSON text without secrets.
    """
    values = PlainValues()
    text = json_text(values.plain(value), values)
    path.write_bytes(encoded(redact(text)))
    return SavedFile(path, "text", "application/json", tuple(values.notes))


def save_figure(figure: Any, path: Path) -> SavedFile:
    """Write a figure of matplotlib (`savefig`) or of plotly and its like (`write_html`).

    Args:
        figure: The figure.
        path: The file, whose suffix chooses matplotlib's format; plotly's gets `.html`.
    """
    if hasattr(figure, "savefig"):
        figure.savefig(path)
        return SavedFile(path, "figure", mimetypes.guess_type(path.name)[0] or "image/png")
    if hasattr(figure, "write_html"):
        path = path.with_suffix(".html")
        figure.write_html(path)
        return SavedFile(path, "html", "text/html")
    raise TypeError(f"{type(figure).__name__} has neither savefig() nor write_html()")


def save_image(image: Any, path: Path) -> SavedFile:
    """Write an image: a file, bytes of one, an object with `save()`, or an array.

    Arrays have shape (height, width) or (height, width, channels) with 1, 3 or 4 channels, as
    integers from 0 to 255 or floats from 0 to 1. They need Pillow.

    Args:
        image: The image.
        path: The file, whose suffix chooses the format of an array or a Pillow image.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        path.write_bytes(image)
    elif isinstance(image, str | Path):
        save_file(Path(image), path)
    elif hasattr(image, "save"):
        image.save(path)
    else:
        _image_of_array(image).save(path)
    return SavedFile(path, "image", mimetypes.guess_type(path.name)[0] or "image/png")


def save_table(table: Any, path: Path, redactor: Redactor) -> SavedFile:
    """Write a table as JSON with `columns` and `data`, as trackers show it.

    Args:
        table: What `plain_columns` takes.
        path: The file.
        redactor: Keeps secrets out of it.
    """
    values = PlainValues()
    columns = redactor.redact_columns(plain_columns(table, values))
    rows = [list(row) for row in zip(*(column for _, column in columns), strict=True)]
    text = json_text({"columns": [name for name, _ in columns], "data": rows}, values)
    path.write_bytes(redactor.redact_json(text).encode("utf-8", "backslashreplace"))
    return SavedFile(path, "table", "application/json", tuple(values.notes))


def _image_of_array(array: Any) -> Any:
    try:
        import numpy
        from PIL import Image
    except ImportError as error:
        raise TypeError("an array as an image needs Pillow; type: pip install pillow") from error
    if hasattr(array, "detach"):
        array = array.detach().cpu()
    pixels = numpy.asarray(array)
    if pixels.ndim not in (2, 3):
        raise ValueError(f"an image has 2 or 3 dimensions, not {pixels.ndim}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype.kind == "f":
        pixels = numpy.nan_to_num(pixels).clip(0.0, 1.0) * 255.0
    return Image.fromarray(pixels.round().clip(0, 255).astype("uint8"))
