"""Which files does a model have: a file, those of a folder, or what an object becomes?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from trackyard.redaction.redactor import Redactor
from trackyard.system.coercing import to_number, to_pairs, to_text
from trackyard.tracking.folders import files_of
from trackyard.tracking.json_texts import encoded, json_text
from trackyard.tracking.media import SavedFile
from trackyard.tracking.plain_values import PlainValues

# How an object saves itself, by the library that its class is of: a method, and a file's name.
_METHODS = {
    "keras": ("save", "model.keras"),
    "xgboost": ("save_model", "model.ubj"),
    "lightgbm": ("save_model", "model.txt"),
    "catboost": ("save_model", "model.cbm"),
}


def model_files(model: Any, name: str, place: Path, notes: list[str]) -> list[tuple[str, Path]]:
    """Give the names and files of a model; an object is written to files first.

    Args:
        model: A path, or an object.
        name: Its folder in the run.
        place: A folder for what is written.
        notes: Gets what cannot be logged.

    Raises:
        Exception: There is no such file, or the object cannot be written.
    """
    if isinstance(model, str | Path):
        source = Path(model)
        return files_of(source, f"{name}/{source.name}" if source.is_file() else name, notes)
    if model is None:
        raise TypeError("None is no model; give a file, a folder or an object")
    place.mkdir(parents=True, exist_ok=True)
    _write(model, place)
    return files_of(place, name, notes)


def described_model(
    model: Any,
    name: str,
    files: Sequence[tuple[str, Path]],
    path: Path,
    *,
    given: Mapping[str, Any],
    redactor: Redactor,
) -> SavedFile:
    """Write what describes a model.

    Args:
        model: As above.
        name: Its folder in the run.
        files: Its files, by their names in the run.
        path: The file.
        given: What the user says of it: `framework`, `signature` and `metrics`.
        redactor: Keeps secrets out of it.
    """
    values = PlainValues(for_json=True)
    known = {
        "framework": given["framework"] or _framework_of(model),
        "signature": _signature(given["signature"]),
        "metrics": _metrics(given["metrics"], values),
        "files": [_described(inner.removeprefix(f"{name}/"), file) for inner, file in files],
    }
    text = json_text(values.plain({key: value for key, value in known.items() if value}), values)
    path.write_bytes(encoded(redactor.redact_json(text)))
    return SavedFile(path, "model", "application/json", tuple(values.notes))


def _write(model: Any, place: Path) -> None:
    """Write an object as its library does, or as a pickle."""
    roots = _roots_of(model)
    if hasattr(type(model), "save_pretrained"):
        model.save_pretrained(place)
        return
    for library, (method, file) in _METHODS.items():
        if library in roots and hasattr(model, method):
            getattr(model, method)(place / file)
            return
    if "torch" in roots:
        import_module("torch").save(model, place / "model.pt")
        return
    with (place / "model.pkl").open("wb") as content:
        _pickled(model, content)


def _pickled(model: Any, file: IO[bytes]) -> None:
    """Pickle a model; by cloudpickle where that is there, which knows classes of scripts."""
    try:
        dump = import_module("cloudpickle").dump
    except ImportError:
        dump = import_module("pickle").dump
    dump(model, file)


def _framework_of(model: Any) -> str | None:
    if isinstance(model, str | Path):
        return None
    own = [root for root in _roots_of(model) if root not in ("__main__", "builtins", "abc")]
    known = [root for root in own if root in ("sklearn", "torch", *_METHODS)]
    return next(iter(known or own), None)


def _roots_of(model: Any) -> list[str]:
    """Give the libraries that a model's class and those above it are of."""
    return list(dict.fromkeys(kind.__module__.partition(".")[0] for kind in type(model).__mro__))


def _signature(signature: Any) -> Any:
    """Give a signature; one that is an object says itself what it is."""
    return signature.to_dict() if hasattr(type(signature), "to_dict") else signature


def _metrics(metrics: Any, values: PlainValues) -> dict[str, float]:
    found = {}
    for key, value in (to_pairs(metrics) or []) if metrics is not None else []:
        number = to_number(value)
        if number is None or key is None:
            values.note(f"metric {to_text(key)!r} of the model is no number, and was left out")
        else:
            found[key] = number
    return found


def _described(name: str, file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        return {"name": name, "sha256": digest, "size": content.tell()}
