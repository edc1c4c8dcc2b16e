"""Which records do the rows of a history stand for, that W&B's files or its server hold?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import (
    Artifact,
    ImportNote,
    MetricPoints,
    PointsByMetric,
    Record,
    RemoteRun,
    Tag,
)
from trackyard_wandb.capturing import artifact_of, flat_values, text_of
from trackyard_wandb.media import HISTOGRAM, KINDS, histogram_file, is_placed_by_tracker
from trackyard_wandb.records import STEP, Axes, key_of, moment_of

Piece = Record | RemoteRun | ImportNote | MetricPoints
# Finds a file of the run by the name that the history has of it.
Find = Callable[[str], Path | None]
_OWN = frozenset({"_step", "_timestamp", "_runtime", "_wandb", STEP})


@attrs.define
class Rows:
    """Makes records of the rows of one run; later ones rest on what earlier ones said.

    Attributes:
        scratch: Where files are written that stand in the rows themselves.
        last: The time of the last row, in nanoseconds since the epoch.
    """

    scratch: Path
    last: int = 0
    _axes: Axes = attrs.field(factory=Axes)
    _values: dict[str, Any] = attrs.field(factory=dict)
    _summary: dict[str, Any] = attrs.field(factory=dict)
    _is_ours: bool = False  # the tracker of Trackyard has written it, who renames some columns
    _points: PointsByMetric = attrs.field(factory=PointsByMetric)

    def note_config(self, config: Mapping[str, Any]) -> None:
        """Note what the config says of who has written the run."""
        self._is_ours = self._is_ours or "trackyard" in config

    def note_axis(self, name: str, glob: str, axis: str) -> None:
        """Note that the values of one column are the steps of another.

        Args:
            name: The other column, or an empty text.
            glob: What its name begins with, and a star; or an empty text.
            axis: The column that has the steps, or an empty text.
        """
        self._axes.note(name, glob, axis)

    def of(self, row: Mapping[str, Any], find: Find) -> Iterator[Piece]:
        """Give the records of a row.

        Args:
            row: Its values by column.
            find: Gives the files that it names.
        """
        timestamp = moment_of(row)
        self.last = max(self.last, timestamp)
        is_flat = dict not in map(type, row.values())
        values = row if is_flat else dict(flat_values(row))
        for column, value in values.items():
            if column in _OWN:
                continue
            step = self._axes.step(column, values)
            key = key_of(column) if self._is_ours else column
            self._values[key] = value
            if isinstance(value, int | float):
                self._points.add(key, float(value), step, timestamp)
            elif isinstance(value, dict):
                for piece in self._media(key, value, find):
                    if isinstance(piece, Artifact):
                        yield attrs.evolve(piece, step=step, timestamp=timestamp)
                    else:
                        yield piece
            elif value is not None:
                yield Tag(key, text_of(value))
        if self._points.is_full:
            yield from self._points.take()

    def rest(self) -> Iterable[MetricPoints]:
        """Give the points that were not given yet: behind the last row."""
        return self._points.take()

    def note_summary(self, values: Mapping[str, Any]) -> None:
        """Note values of the summary, of which later ones replace earlier ones."""
        self._summary.update(flat_values(values))

    def summary(self) -> Iterator[Tag]:
        """Give what the summary has that is not the last value of the history."""
        for key, value in self._summary.items():
            is_own = key in _OWN or key.startswith("_wandb.") or isinstance(value, dict)
            if not is_own and value is not None and not _is_same(value, self._values.get(key)):
                yield Tag(f"summary.{key}", text_of(value))

    def _media(self, key: str, value: Mapping[str, Any], find: Find) -> Iterator[Piece]:
        """Give the artifacts that a value with a type of W&B's stands for."""
        type_ = value["_type"]
        if type_ == HISTOGRAM:
            path = histogram_file(value, self.scratch)
            if path is not None:
                yield Artifact(f"{key}.json", path, "histogram", "application/json")
            return
        names = value.get("filenames") or [value.get("path")]
        kind = next((kind for kind, (known, _) in KINDS.items() if known == type_), None)
        for number, name in enumerate(names):
            found = find(name) if isinstance(name, str) else None
            if found is None:
                yield ImportNote(f"{type_} {key}: its file is not in the run's folder")
                continue
            place = f"{key}/{number}" if len(names) > 1 else key
            is_whole = is_placed_by_tracker(key, name) or place.endswith(found.suffix)
            suffix = "" if is_whole else found.suffix
            artifact = artifact_of(f"{place}{suffix}", found)
            yield artifact if kind is None else attrs.evolve(artifact, kind=kind)


def numbered(value: Any) -> Any:
    """Give a value with the numbers that JSON has no name for, and a server gives as texts."""
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, dict) and "_type" not in value:
        return {name: numbered(inner) for name, inner in value.items()}
    return value


def _is_same(value: Any, last: Any) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return isinstance(last, float) and math.isnan(last)
    return bool(value == last) or json.dumps(value) == json.dumps(last)
