"""What does one say of the data that a run used: their digest, schema and figures?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackyard.contract.kinds import Dataset
from trackyard.redaction.redactor import Redactor
from trackyard.system.coercing import to_text
from trackyard.system.interruption import let_signals_through
from trackyard.tracking.folders import files_of
from trackyard.tracking.media import SavedFile
from trackyard.tracking.plain_values import PlainValues
from trackyard.tracking.tables import columns_of

# As many characters as trackers show of a digest.
_DIGEST = 16
_TEXTS = ("version", "digest", "source", "context")
_VALUES = ("schema", "profile")


def described_dataset(
    name: Any, data: Any, path: Path, *, given: Mapping[str, Any], redactor: Redactor
) -> SavedFile:
    """Write what describes a dataset; what the user says of it counts before what is found.

    Args:
        name: Its name.
        data: The data, a path of such, or None.
        path: The file.
        given: Values of `Dataset`, by name; None where the user does not say it.
        redactor: Keeps secrets out of it.
    """
    values = PlainValues(for_json=True)
    found = {} if data is None else _found_in(data, values)
    said = {key: value for key, value in given.items() if value is not None}
    texts = {key: redactor.redact(to_text(said[key])) for key in _TEXTS if key in said}
    kept = redactor.redact_nested(values.plain({key: said[key] for key in _VALUES if key in said}))
    dataset = Dataset(**{"name": redactor.redact(to_text(name)), **found, **texts, **kept})
    path.write_text(dataset.to_json(), encoding="utf-8", errors="backslashreplace")
    return SavedFile(path, "dataset", "application/json", tuple(values.notes))


def _found_in(data: Any, values: PlainValues) -> dict[str, Any]:
    """Look at data; what cannot be looked at is noted."""
    try:
        return _of_files(data) if isinstance(data, str | Path) else _of_values(data)
    except Exception as error:
        let_signals_through(error)
        values.note(f"its digest was not found ({to_text(error)}); give digest=, or version=")
        return {}


def _of_files(path: Any) -> dict[str, Any]:
    """Describe the files of a path by their names and contents."""
    digest, size, files = hashlib.sha256(), 0, files_of(path, None, [])
    for name, file in files:
        with file.open("rb") as content:
            own = hashlib.file_digest(content, "sha256").hexdigest()
            size += content.tell()
        digest.update(f"{own if len(files) == 1 else name + own}".encode())
    source = str(Path(path).absolute())
    profile = {"files": len(files), "bytes": size}
    return {"digest": digest.hexdigest()[:_DIGEST], "source": source, "profile": profile}


def _of_values(data: Any) -> dict[str, Any]:
    """Describe a table or an array."""
    if hasattr(data, "shape") and hasattr(data, "dtype") and not hasattr(type(data), "iloc"):
        return _of_array(data)
    columns = columns_of(data)
    digest = hashlib.sha256()
    for name, cells in columns:
        digest.update(repr((to_text(name), cells)).encode("utf-8", "backslashreplace"))
    types = _types_of(data)
    schema = {to_text(n): to_text(types.get(n, _kinds_of(cells))) for n, cells in columns}
    profile = {"rows": max((len(cells) for _, cells in columns), default=0)}
    return {
        "digest": digest.hexdigest()[:_DIGEST],
        "schema": schema,
        "profile": {**profile, "columns": len(columns)},
    }


def _types_of(data: Any) -> dict[Any, Any]:
    """Give the types that a frame says its columns have."""
    if hasattr(data, "column_names") and hasattr(data, "schema"):  # Arrow
        return dict(zip(data.column_names, data.schema.types, strict=True))
    types = getattr(data, "dtypes", None)
    if types is None or not hasattr(data, "columns"):
        return {}
    return dict(zip(data.columns, types, strict=False))


def _of_array(array: Any) -> dict[str, Any]:
    import numpy

    shape, dtype = [int(length) for length in array.shape], to_text(array.dtype)
    on_host = array.detach().cpu() if hasattr(type(array), "detach") else array
    content = numpy.ascontiguousarray(numpy.asarray(on_host)).tobytes()
    digest = hashlib.sha256(f"{shape} {dtype}".encode() + content).hexdigest()
    schema = {"dtype": dtype, "shape": shape[1:]}
    return {
        "digest": digest[:_DIGEST],
        "schema": schema,
        "profile": {"rows": shape[0] if shape else 1},
    }


def _kinds_of(cells: list[Any]) -> str:
    """Name the types in a column that says none itself."""
    names = sorted({type(cell).__name__ for cell in cells if cell is not None})
    return " or ".join(names) or "none"
