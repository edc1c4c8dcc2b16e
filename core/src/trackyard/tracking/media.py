"""How do figures, images, tables, texts and files become files of a run?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from trackyard.contract.records import ArtifactKind
from trackyard.redaction.redactor import Redactor
from trackyard.system.coercing import to_text
from trackyard.system.files import copy_private
from trackyard.system.interruption import let_signals_through
from trackyard.tracking.figures import is_figure_name, is_page, write_figure
from trackyard.tracking.file_objects import content_of
from trackyard.tracking.images import (
    IMAGE_SUFFIXES,
    is_image_name,
    is_plain_array,
    png_content,
    save_array,
    save_pillow,
    suffix_of,
)
from trackyard.tracking.json_texts import encoded, json_text
from trackyard.tracking.media_types import media_type_of
from trackyard.tracking.parquet import save_parquet
from trackyard.tracking.plain_values import PlainValues, text_of
from trackyard.tracking.tables import plain_columns

# Formats of tables that people name and that are not written.
_NO_TABLES = (".csv", ".tsv", ".html", ".txt", ".xlsx", ".md")


@attrs.frozen
class SavedFile:
    """A file that was written for an artifact.

    Attributes:
        path, kind, media_type: As of an `Artifact`.
        notes: What of the value was changed, and what to do about it.
        content: What belongs into the file, which is not written yet; None where it is.
    """

    path: Path
    kind: ArtifactKind
    media_type: str | None
    notes: tuple[str, ...] = ()
    content: bytes | None = None


def with_suffix_of(name: str, path: Path) -> str:
    """Give an artifact's name with the suffix of the file that was written for it.

    Args:
        name: The name that the user gave.
        path: The file.
    """
    if name.endswith(path.name):
        return name
    own, written = PurePosixPath(name).suffix, path.suffix
    return name if own == written else name.removesuffix(own) + written


def save_file(source: Path, path: Path, kind: ArtifactKind = "file") -> SavedFile:
    """Copy a file as it is now; the user may delete or change it the next moment.

    Args:
        source: The user's file.
        path: The copy.
        kind: What it is.
    """
    copy_private(source, path)
    return stored_file(path, kind)


def stored_file(path: Path, kind: ArtifactKind = "file") -> SavedFile:
    """Give a file that is stored, under the user's name, as it is.

    Args:
        path: The file.
        kind: What it is.
    """
    return SavedFile(path, kind, media_type_of(path.name))


def text_in(value: Any) -> str:
    """Give a value as text: that of an open file or of bytes, where they are UTF-8.

    Args:
        value: The value.
    """
    content = content_of(value, bytes, str)
    # `isinstance` would ask the value, which may raise.
    return (text_of if issubclass(type(content), bytes | bytearray) else to_text)(content)


def text_file(text: Any, path: Path) -> SavedFile:
    """Give the file of a text; a name that ends in .html makes it a page.

    Args:
        text: The text, or a value whose text is meant.
        path: The file.
    """
    media_type = media_type_of(path.name) or "text/plain"
    kind: ArtifactKind = "html" if media_type == "text/html" else "text"
    content = to_text(text).encode("utf-8", "backslashreplace")
    return SavedFile(path, kind, media_type, content=content)


def dict_file(value: Any, path: Path, redact: Callable[[str], str]) -> SavedFile:
    """Give the file of a dict, list or object as JSON.

    Args:
        value: The value; what JSON has no name for becomes dicts, lists and texts.
        path: The file.
        redact: Gives a JSON text without secrets.
    """
    values = PlainValues(for_json=True)
    text = json_text(values.plain(value), values)
    content = encoded(redact(text))
    return SavedFile(path, "text", "application/json", tuple(values.notes), content)


def save_figure(figure: Any, path: Path) -> SavedFile:
    """Write a figure as a picture, or as a page where it is one of plotly and its like.

    Args:
        figure: What `write_figure` takes.
        path: The file, whose suffix chooses a picture's format.
    """
    written = write_figure(figure, path)
    kind: ArtifactKind = "html" if written.suffix == ".html" else "figure"
    media_type = "text/html" if kind == "html" else media_type_of(path.name)
    notes = []
    if written.suffix != path.suffix:
        library = type(figure).__module__.partition(".")[0]
        notes.append(f"a figure of {library} is kept as a page; name it {written.name}")
    return SavedFile(written, kind, media_type or "image/png", tuple(notes))


def save_image(image: Any, path: Path) -> SavedFile:
    """Write an image: a file, bytes of one, an object with `save()`, or an array.

    Args:
        image: The image; an array needs Pillow.
        path: The file, whose suffix chooses the format of an array or a Pillow image.
    """
    notes: list[str] = []
    if isinstance(image, bytes | bytearray | memoryview | str | Path):
        if isinstance(image, str | Path):
            save_file(Path(image), path)
        else:
            path.write_bytes(image)
        check_content(path, "an image", IMAGE_SUFFIXES, suffix_of, notes)
        path = _named_as_it_is(path, notes)
    elif hasattr(image, "save") and not hasattr(image, "shape"):
        save_pillow(image, path, notes)
    else:
        save_array(image, path, notes)
    media_type = media_type_of(path.name) or "image/png"
    return SavedFile(path, "image", media_type, tuple(notes))


def check_content(
    path: Path,
    what: str,
    suffixes: Sequence[str],
    suffix_of: Callable[[bytes], str | None],
    notes: list[str],
) -> None:
    """Note where a file is not what its name says; what no beginning is known of passes.

    Args:
        path: The file.
        what: What it is to be, such as "an image".
        suffixes: The suffixes of formats that are known by their beginnings.
        suffix_of: Gives the suffix that goes with a beginning, or None.
        notes: Gets what is wrong.

    Raises:
        ValueError: It is empty.
    """
    with path.open("rb") as file:
        start = file.read(12)
    if not start:
        raise ValueError(f"it is empty; give the bytes of {what}")
    own = path.suffix.lower()
    if own in suffixes and suffix_of(start) is None:
        notes.append(f"its content is not {what} of type {own}; log other files by log_artifact")


def is_png_of_array(image: Any, name: str) -> bool:
    """Tell whether `array_file` gives the file of an image.

    Args:
        image: The image; of one that cannot even be looked at, `save_image` says what is wrong.
        name: The name that the user gave.
    """
    try:
        return image_name(name, image).lower().endswith(".png") and is_plain_array(image)
    except Exception as error:
        let_signals_through(error)
        return False


def array_file(image: Any, path: Path) -> SavedFile:
    """Give the file of an array as PNG.

    Args:
        image: The array.
        path: The file.
    """
    notes: list[str] = []
    content = png_content(image, notes)
    return SavedFile(path, "image", "image/png", tuple(notes), content)


def image_name(name: str, image: Any) -> str:
    """Give an image's name with the suffix of its file, where it has none.

    Args:
        name: The name that the user gave.
        image: The image.
    """
    if is_image_name(name):
        return name
    if isinstance(image, str | Path):
        return name + (Path(image).suffix if is_image_name(str(image)) else ".png")
    start = bytes(image[:12]) if isinstance(image, bytes | bytearray | memoryview) else b""
    return name + (suffix_of(start) or ".png")


def figure_name(name: str, figure: Any) -> str:
    """Give a figure's name with the suffix of a picture or page, where it has none of a figure.

    Args:
        name: The name that the user gave.
        figure: The figure.
    """
    if is_figure_name(name):
        return name
    return f"{name}.html" if is_page(figure) else f"{name}.png"


def json_name(name: str) -> str:
    """Give the name of a file that is always JSON."""
    return name if name.lower().endswith(".json") else f"{name}.json"


def table_name(name: str) -> str:
    """Give a table's name with the suffix of its format, where it has none that names one."""
    suffix = PurePosixPath(name).suffix.lower()
    return name if suffix in (".json", ".parquet", *_NO_TABLES) else f"{name}.json"


def _named_as_it_is(path: Path, notes: list[str]) -> Path:
    """Give a file the suffix of what it holds: pages choose by it how they show an image."""
    with path.open("rb") as file:
        suffix = suffix_of(file.read(12))
    own = path.suffix.lower()
    if suffix is None or {".jpeg": ".jpg", ".tif": ".tiff"}.get(own, own) == suffix:
        return path
    notes.append(f"it is a {suffix} file and was named so; name it {path.stem}{suffix}")
    return path.rename(path.with_suffix(suffix))


def save_table(table: Any, path: Path, redactor: Redactor) -> SavedFile:
    """Write a table as Parquet.

    Args:
        table: What `plain_columns` takes.
        path: The file.
        redactor: Keeps secrets out of it.
    """
    values = PlainValues(for_json=False)
    save_parquet(table, path, redactor, values)
    return SavedFile(path, "file", "application/vnd.apache.parquet", tuple(values.notes))


def table_file(table: Any, path: Path, redactor: Redactor) -> SavedFile:
    """Give the file of a table as JSON with `columns` and `data`, as trackers show it.

    Args:
        table: What `plain_columns` takes.
        path: The file.
        redactor: Keeps secrets out of it.
    """
    values = PlainValues(for_json=True)
    if path.suffix != ".json":
        values.note(f"a table is kept as JSON; name it {path.stem}.json, or {path.stem}.parquet")
        path = path.with_suffix(".json")
    columns = redactor.redact_columns(plain_columns(table, values))
    rows = [list(row) for row in zip(*(column for _, column in columns), strict=True)]
    text = json_text({"columns": [name for name, _ in columns], "data": rows}, values)
    content = redactor.redact_json(text).encode("utf-8", "backslashreplace")
    return SavedFile(path, "table", "application/json", tuple(values.notes), content)
