"""What do the files of histograms, models and datasets say, for flavors that show them as such?

Each is a JSON file, so that a backend that knows no such thing keeps it as a file and nothing is
lost. The texts are the same for the same values: a flavor that keeps the values alone can give the
file back, byte by byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from trackyard.contract.records import Artifact

# The artifact that describes a model; its other files lie beside it, and are sent before it.
MODEL_FILE = "trackyard-model.json"


@attrs.frozen
class Histogram:
    """How values are distributed.

    Attributes:
        counts: How many values lie in each part; part `n` goes from edge `n` to edge `n + 1`.
        edges: One more than there are parts.
    """

    counts: tuple[float, ...]
    edges: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> Histogram:
        """Read an artifact's file.

        Raises:
            ValueError: It is none of a histogram.
        """
        found = _object_in(path)
        try:
            counts, edges = tuple(found["counts"]), tuple(found["edges"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is no histogram") from error
        if len(edges) != len(counts) + 1 or not _are_numbers(counts) or not _are_numbers(edges):
            raise ValueError(f"{path} is no histogram")
        return cls(counts, edges)

    def to_json(self) -> str:
        """Give the text of its file."""
        return _text({"counts": list(self.counts), "edges": list(self.edges)})


@attrs.frozen
class ModelFile:
    """One file of a model.

    Attributes:
        name: Its path below the model's folder.
        path: The local copy; None where it is not on this machine.
    """

    name: str
    path: Path | None


@attrs.frozen
class Model:
    """A model that a run logged.

    Attributes:
        name: Its folder in the run.
        framework: What it is made with, or None.
        signature: What it takes and gives, or None.
        metrics: How good it is.
        files: Its files, without the one that describes it.
    """

    name: str
    framework: str | None
    signature: Any
    metrics: Mapping[str, float]
    files: tuple[ModelFile, ...]

    @classmethod
    def read(cls, artifact: Artifact) -> Model | None:
        """Read the artifact that describes a model; of its other files None is given.

        Args:
            artifact: One of kind `model`.
        """
        folder, _, last = artifact.name.rpartition("/")
        if last != MODEL_FILE:
            return None
        found = _object_in(artifact.path)
        # Each file of a run lies in a folder that is named by its content.
        store = artifact.path.resolve().parents[1]
        files = tuple(
            ModelFile(str(file["name"]), _file_in(store / str(file["sha256"])))
            for file in found.get("files", ())
        )
        framework, metrics = found.get("framework"), dict(found.get("metrics") or {})
        return cls(folder, framework, found.get("signature"), metrics, files)


@attrs.frozen(kw_only=True)
class Dataset:
    """Which data a run used.

    Attributes:
        name: Its name.
        version, digest, source, context: As they were given, or None.
        schema, profile: Likewise; values as JSON holds them.
    """

    folder: ClassVar[str] = "datasets"

    name: str
    version: str | None = None
    digest: str | None = None
    source: str | None = None
    schema: Any = None
    profile: Any = None
    context: str | None = None

    @classmethod
    def read(cls, path: Path) -> Dataset:
        """Read an artifact's file.

        Raises:
            ValueError: It is none of a dataset.
        """
        found, known = _object_in(path), {field.name for field in attrs.fields(cls)}
        if "name" not in found:
            raise ValueError(f"{path} is no dataset")
        return cls(**{key: value for key, value in found.items() if key in known})

    def to_json(self) -> str:
        """Give the text of its file, without what is not known."""
        return _text({key: value for key, value in attrs.asdict(self).items() if value is not None})


def _object_in(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _are_numbers(values: tuple[object, ...]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _file_in(folder: Path) -> Path | None:
    """Give a file of a folder whose files have one content."""
    try:
        return next(path for path in sorted(folder.iterdir()) if path.is_file())
    except (OSError, StopIteration):
        return None
