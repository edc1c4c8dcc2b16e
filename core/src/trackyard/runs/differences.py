"""What is missing or different in a backend's run, beside what was logged?"""

from __future__ import annotations

import filecmp
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import attrs

from trackyard.contract.records import Artifact, Metric, Param, Record, Tag
from trackyard.system.showing import Shown, says

_Kind = Literal["metric", "param", "tag", "artifact"]


@attrs.frozen(repr=False)
class Difference(Shown):
    """One thing that a backend does not hold as it was logged."""

    kind: _Kind = attrs.field(metadata=says("What it is"))
    key: str = attrs.field(metadata=says("The key, or an artifact's name, as it was sent"))
    problem: Literal["missing", "different", "extra"] = attrs.field(
        metadata=says("`extra` are points of a metric that were not logged")
    )
    count: int = attrs.field(metadata=says("Points of a metric; 1 for everything else"))
    expected: str = attrs.field(metadata=says("What was logged; of several points the first"))
    found: str = attrs.field(metadata=says("What is there instead"))


def differences(expected: Iterable[Record], stored: Iterable[Record]) -> list[Difference]:
    """List how a backend's records differ from those that it was sent.

    What it holds beyond them, such as tags of its own, is no difference, except for more points
    of a metric. Numbers are compared with the accuracy of 32 bits, and as texts where they are
    params; times are not compared. Of points that share step, value and millisecond one may stand
    for all.

    Args:
        expected: What was sent.
        stored: What the tracker gave back.
    """
    ours, theirs = _Sorted(expected), _Sorted(stored)
    found: list[Difference] = []
    for key, points in ours.metrics.items():
        found += _of_metric(key, points, theirs.metrics.get(key, []))
    # A backend may keep a param as a tag, or a tag as a param.
    found += _of_texts("param", ours.params, {**theirs.tags, **theirs.params})
    found += _of_texts("tag", ours.tags, {**theirs.params, **theirs.tags})
    found += _of_artifacts(ours.artifacts, theirs.artifacts)
    return found


class _Sorted:
    """Records by kind and key; of a key that comes again the last one counts."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.metrics: dict[str, list[Metric]] = defaultdict(list)
        self.params: dict[str, object] = {}
        self.tags: dict[str, object] = {}
        self.artifacts: dict[str, Artifact] = {}
        for record in records:
            match record:
                case Metric():
                    self.metrics[record.key].append(record)
                case Param():
                    self.params[record.key] = record.value
                case Tag():
                    self.tags[record.key] = record.value
                case Artifact():
                    self.artifacts[record.name] = record


def _of_metric(key: str, points: list[Metric], there: list[Metric]) -> Iterator[Difference]:
    missing: list[Metric] = []
    extra: list[Metric] = []
    ours = _by_step(point for point in points if point.step is not None)
    theirs = _by_step(there)
    for step in {*ours, *theirs}:
        of_step = _unmatched(ours.get(step, []), theirs.get(step, []))
        missing += of_step[0]
        extra += of_step[1]
    # A backend gives a step of its own to a point without one.
    without, extra = _unmatched([point for point in points if point.step is None], extra)
    gone = {id(point) for point in (*missing, *without)}
    kept = {_moment(point) for point in points if id(point) not in gone}
    missing = _first_of_each_moment([*missing, *without], kept)
    if missing:
        yield Difference("metric", key, "missing", len(missing), _point(missing[0]), "")
    if extra:
        yield Difference("metric", key, "extra", len(extra), "", _point(extra[0]))


def _by_step(points: Iterable[Metric]) -> dict[float, list[Metric]]:
    by_step: dict[float, list[Metric]] = defaultdict(list)
    for point in points:
        by_step[point.step or 0].append(point)
    return by_step


def _unmatched(ours: list[Metric], theirs: list[Metric]) -> tuple[list[Metric], list[Metric]]:
    """Give those of two lists whose value the other one lacks, each counted once."""
    ours, theirs = sorted(ours, key=_order), sorted(theirs, key=_order)
    missing: list[Metric] = []
    extra: list[Metric] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        if same_number(ours[i].value, theirs[j].value):
            i, j = i + 1, j + 1
        elif _order(ours[i]) < _order(theirs[j]):
            missing.append(ours[i])
            i += 1
        else:
            extra.append(theirs[j])
            j += 1
    return missing + ours[i:], extra + theirs[j:]


def _order(point: Metric) -> float:
    return -math.inf if math.isnan(point.value) else point.value


def _first_of_each_moment(points: list[Metric], kept: set[tuple[object, ...]]) -> list[Metric]:
    """Leave out points that a backend cannot tell from one that it holds."""
    first: dict[tuple[object, ...], Metric] = {}
    for point in points:
        if _moment(point) not in kept:
            first.setdefault(_moment(point), point)
    return list(first.values())


def _moment(point: Metric) -> tuple[object, ...]:
    return point.step, str(point.value), point.timestamp // 1_000_000


def _of_texts(
    kind: _Kind, ours: Mapping[str, object], theirs: Mapping[str, object]
) -> Iterator[Difference]:
    for key, value in ours.items():
        if key not in theirs:
            yield Difference(kind, key, "missing", 1, _short(value), "")
        elif not same_value(value, theirs[key]):
            yield Difference(kind, key, "different", 1, _short(value), _short(theirs[key]))


def _of_artifacts(
    ours: Mapping[str, Artifact], theirs: Mapping[str, Artifact]
) -> Iterator[Difference]:
    for name, artifact in ours.items():
        if name not in theirs:
            yield Difference("artifact", name, "missing", 1, _size(artifact), "")
        elif artifact.path.is_file() and not _same_file(artifact, theirs[name]):
            yield Difference("artifact", name, "different", 1, _size(artifact), _size(theirs[name]))


def _same_file(ours: Artifact, theirs: Artifact) -> bool:
    try:
        return filecmp.cmp(ours.path, theirs.path, shallow=False)
    except OSError:
        return False


def _size(artifact: Artifact) -> str:
    try:
        return f"{artifact.path.stat().st_size} bytes"
    except OSError:
        return "a file"


def same_value(ours: object, theirs: object) -> bool:
    """Tell whether two values are the same, where a backend may keep numbers as texts.

    Args:
        ours: What was sent.
        theirs: What the tracker gave back, maybe as a text.
    """
    if str(ours) == str(theirs) or (ours is None and theirs in ("", "null")):
        return True
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return str(ours).lower() == str(theirs).lower()
    try:
        return same_number(float(str(ours)), float(str(theirs)))
    except ValueError:
        return False


def same_number(ours: float, theirs: float) -> bool:
    """Tell whether two numbers are the same but for the accuracy of 32 bits.

    Args:
        ours: What was sent.
        theirs: What the tracker gave back.
    """
    if math.isnan(ours) or math.isnan(theirs):
        return math.isnan(ours) and math.isnan(theirs)
    return math.isclose(ours, theirs, rel_tol=1e-6, abs_tol=1e-38)


def _point(point: Metric) -> str:
    return f"{point.value:.6g}" + ("" if point.step is None else f" at step {point.step}")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 80 else f"{text[:40]}…{text[-30:]} ({len(text)} characters)"
