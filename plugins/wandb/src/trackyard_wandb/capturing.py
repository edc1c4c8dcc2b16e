"""Which records of the run does what W&B's own calls wrote become?

They are read from what `native_calls` reads for W&B's own file. What W&B makes by itself is none:
summaries of metrics, what it finds out about the machine, the artifact behind a table.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import Artifact, Metric, Param, Record, Run, Tag
from trackyard_wandb.artifacts import native_artifact
from trackyard_wandb.media import HISTOGRAM, KINDS, histogram_file
from trackyard_wandb.native_calls import CALLS, NativeCalls, native_folder
from trackyard_wandb.records import OWN_FILES, items_of, moment_of, params_of

# Columns of W&B's own.
_OWN = frozenset({"_step", "_timestamp", "_runtime", "_wandb"})
_SEVERAL_IMAGES = "images/separated"


class NativeReader:
    """Reads what W&B's own calls have logged in one run, and goes on where it stopped.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._position = ""
        self._converter = _Converter(run)

    def read(self, position: str) -> tuple[list[Record], str]:
        """Give what was logged behind a position, and the position behind that.

        Args:
            position: How many records of each source are known, as JSON.
        """
        if position != self._position:  # another process read what is before it, or a read failed
            self._converter = _Converter(self._run)
        self._position = "in between"
        known = json.loads(position or "{}")
        records: list[Record] = []
        counts: dict[str, int] = {}
        for source, number, made in self._converter.new():
            counts[source] = number + 1
            if number >= known.get(source, 0):
                records += made
        self._position = json.dumps({**known, **counts}) if counts else position
        return records, self._position


class _Converter:
    """Makes records of W&B's; it has to see all of them, since later ones rest on earlier ones.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._calls = NativeCalls(run.folder, {})
        self._folder = native_folder(run.folder)
        self._axes: dict[str, str] = {}
        self._axes_of_globs: dict[str, str] = {}
        self._saved: dict[str, None] = {}
        self._labels: dict[str, str] = {}

    def new(self) -> Iterator[tuple[str, int, Sequence[Record]]]:
        """Give what is new of each of W&B's records, with its source and its number there."""
        is_all = self._run.attached or self._calls.has_finished
        if is_all and not self._run.attached:
            self._calls.wait_for_end(5.0)
        for name, record in self._calls.new(is_all=is_all):
            source, _, number = name.rpartition(":")
            yield source, int(number), self._records_of(source, record)
        if is_all:
            for place, saved in enumerate(self._saved_files()):
                yield "saved", place, [saved]

    def _records_of(self, source: str, record: Any) -> list[Record]:
        """Give the records that one of W&B's stands for, by whether a call has made it."""
        match record.WhichOneof("record_type"):
            case "run":
                config = list(_params(items_of(record.run.config.update)))
                return [*config, *self._new_labels(record.run)]
            case "config":
                return list(_params(items_of(record.config.update)))
            case "metric":
                self._note_axis(record.metric)
            case "history":
                return list(self._row(items_of(record.history.item)))
            case "summary" if source.startswith(CALLS):
                return list(_summary(items_of(record.summary.update)))
            case "files" if source.startswith(CALLS) or not self._calls.has_calls:
                self._note_saved(record.files.files)
            case "artifact":
                return native_artifact(record.artifact, self._folder / "described")
        return []

    def _saved_files(self) -> list[Record]:
        """Give the files that were saved, as they are now: W&B takes them at the end, too."""
        found = ((name, self._file(name)) for name in self._saved)
        return [artifact_of(name, path) for name, path in found if path is not None]

    def _row(self, row: Mapping[str, Any]) -> Iterator[Record]:
        timestamp = moment_of(row)
        values = dict(flat_values(row))
        for key, value in values.items():
            if key in _OWN:
                continue
            step = values.get(self._axis_of(key), row.get("_step"))
            step = step if isinstance(step, int | float) else row.get("_step")
            if isinstance(value, int | float):
                yield Metric(key, float(value), step, timestamp)
            elif isinstance(value, dict):
                for artifact in self._media(key, value):
                    yield attrs.evolve(artifact, step=step, timestamp=timestamp)
            elif value is not None:
                yield Tag(key, text_of(value))

    def _media(self, key: str, value: Mapping[str, Any]) -> Iterator[Artifact]:
        """Give the artifacts that a value with a type of W&B's stands for."""
        type_ = value["_type"]
        if type_ == HISTOGRAM:
            path = histogram_file(value, self._folder / "histograms")
            if path is not None:
                yield Artifact(f"{key}.json", path, "histogram", "application/json")
        elif type_ == _SEVERAL_IMAGES:
            for number, name in enumerate(value.get("filenames", ())):
                if (path := self._file(name)) is not None:
                    yield artifact_of(f"{key}/{number}{path.suffix}", path)
        elif isinstance(value.get("path"), str):
            kind = next((kind for kind, (known, _) in KINDS.items() if known == type_), None)
            path = self._file(value["path"])
            if path is not None:
                artifact = artifact_of(f"{key}{path.suffix}", path)
                yield artifact if kind is None else attrs.evolve(artifact, kind=kind)

    def _new_labels(self, run: Any) -> Iterator[Tag]:
        """Give what a run is called, as far as the run's own description does not say it."""
        found = {"name": run.display_name, "notes": run.notes, "tags": ", ".join(run.tags)}
        known = {"name": self._run.name, "notes": "", "tags": "", **self._labels}
        for key, text in found.items():
            if text and text != known[key]:
                self._labels[key] = text
                yield Tag(f"wandb.{key}", text)

    def _note_axis(self, metric: Any) -> None:
        if metric.step_metric and metric.name:
            self._axes[metric.name] = metric.step_metric
        elif metric.step_metric and metric.glob_name:
            self._axes_of_globs[metric.glob_name.rstrip("*")] = metric.step_metric

    def _axis_of(self, key: str) -> str:
        """Give the column whose values are the steps of another one."""
        globs = (self._axes_of_globs[glob] for glob in self._axes_of_globs if key.startswith(glob))
        axis = self._axes.get(key) or next(globs, "_step")
        return "_step" if axis == key else axis

    def _note_saved(self, files: Iterable[Any]) -> None:
        names = (file.path for file in files)
        saved = (name for name in names if not name.startswith("media/") and name not in OWN_FILES)
        self._saved |= dict.fromkeys(saved)

    def _file(self, name: str) -> Path | None:
        """Give a file of the run, where the SDK keeps it."""
        found = (folder / "files" / name for folder in reversed(self._calls.services()))
        return next((path for path in found if path.is_file()), None)


def _params(config: Mapping[str, Any]) -> Iterator[Param]:
    for key, value in config.items():
        if key != "_wandb":
            yield from params_of(key, value)


def _summary(values: Mapping[str, Any]) -> Iterator[Tag]:
    """Give what the code itself has put into the summary."""
    for key, value in flat_values(values):
        if key not in _OWN and not isinstance(value, dict):
            yield Tag(f"summary.{key}", text_of(value))


def flat_values(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Give values by their paths; what has a type of W&B's is one value.

    Args:
        values: Values, of which some are nested.
        above: What their paths begin with.
    """
    for name, value in values.items():
        key = f"{above}{name}"
        if isinstance(value, dict) and "_type" not in value:
            yield from flat_values(value, f"{key}.")
        else:
            yield key, value


def text_of(value: Any) -> str:
    """Give a value as the text of a tag."""
    return value if isinstance(value, str) else json.dumps(value)


def artifact_of(name: str, path: Path) -> Artifact:
    """Give a file as an artifact, whose kind follows from its name.

    Args:
        name: The artifact's name.
        path: The file.
    """
    media_type = mimetypes.guess_type(name)[0]
    family = (media_type or "").partition("/")[0]
    kind: Any = {"image": "image", "text": "text", "audio": "audio", "video": "video"}
    is_page = media_type == "text/html"
    return Artifact(name, path, "html" if is_page else kind.get(family, "file"), media_type)
