"""What is missing or different in a backend's run, beside what was logged?"""

from __future__ import annotations

import filecmp
import math
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import attrs

from trackyard.contract.records import Artifact, Capabilities, Metric, Param, Record, Tag
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


def differences(
    expected: Iterable[Record],
    stored: Iterable[Record],
    capabilities: Capabilities,
    native: Iterable[Record] = (),
) -> list[Difference]:
    """List how a backend's records differ from those that it was sent.

    What it holds beyond them, such as tags of its own, is no difference, except for more points
    of a metric. Everything is compared exactly: numbers in as many bits, and times to as many
    nanoseconds, as the flavor declares. Of points that share step, value and, to that accuracy,
    time one may stand for all.

    Args:
        expected: What was sent.
        stored: What the tracker gave back.
        capabilities: What the flavor declares.
        native: What calls of the tracker's own SDK have put there in its own form: metrics and
            params are compared where the backend has them under the same key.
    """
    theirs = _Sorted(stored)
    ours = _Sorted([*_of_same_keys(native, theirs), *expected])
    same = _Accuracy(capabilities)
    found: list[Difference] = []
    for key, points in ours.metrics.items():
        found += _of_metric(key, points, theirs.metrics.get(key, []), same)
    # A backend may keep a param as a tag, or a tag as a param.
    found += _of_texts("param", ours.params, {**theirs.tags, **theirs.params})
    found += _of_texts("tag", ours.tags, {**theirs.params, **theirs.tags})
    found += _of_artifacts(ours.artifacts, theirs.artifacts)
    return found


class _Accuracy:
    """Compares points as exactly as a flavor declares that its backend keeps them.

    Args:
        capabilities: What the flavor declares.
    """

    def __init__(self, capabilities: Capabilities) -> None:
        self._is_short = capabilities.number_bits == 32
        self._resolution = capabilities.time_resolution

    def order(self, point: Metric) -> tuple[float, int]:
        """Give what points are sorted by: equal ones stand at the same place of two lists."""
        value = point.value
        if self._is_short and math.isfinite(value):
            value = _of_32_bits(value)
        # A backend that gives points times of its own keeps no order of ours.
        time = 0 if self._resolution is None else point.timestamp
        return (-math.inf, time) if math.isnan(value) else (value, time)

    def is_same(self, ours: Metric, theirs: Metric) -> bool:
        """Tell whether two points of one step are the same."""
        value, moment = self.order(ours)
        other, other_moment = self.order(theirs)
        is_value = value == other and math.isnan(ours.value) == math.isnan(theirs.value)
        return is_value and abs(moment - other_moment) < (self._resolution or 1)

    def moment(self, point: Metric) -> tuple[object, ...]:
        """Give what points of one key share that a backend may not be able to tell apart."""
        return point.step, str(point.value), point.timestamp // (self._resolution or 1_000_000)


def _of_32_bits(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


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


def _of_same_keys(native: Iterable[Record], theirs: _Sorted) -> Iterator[Record]:
    native = list(native)
    later = {record.key: record.value for record in native if isinstance(record, Tag)}
    for record in native:
        match record:
            case Metric() if record.key in theirs.metrics:
                yield record
            case Param(key) if key in theirs.params:
                # A later value is a tag for the others; the SDK's own backend may have that one.
                if str(theirs.params[key]) != later.get(key):
                    yield record


def _of_metric(
    key: str, points: list[Metric], there: list[Metric], same: _Accuracy
) -> Iterator[Difference]:
    missing: list[Metric] = []
    extra: list[Metric] = []
    ours = _by_step(point for point in points if point.step is not None)
    theirs = _by_step(there)
    for step in {*ours, *theirs}:
        of_step = _unmatched(ours.get(step, []), theirs.get(step, []), same)
        missing += of_step[0]
        extra += of_step[1]
    # A backend gives a step of its own to a point without one.
    without, extra = _unmatched([point for point in points if point.step is None], extra, same)
    gone = {id(point) for point in (*missing, *without)}
    kept = {same.moment(point) for point in points if id(point) not in gone}
    missing = _first_of_each_moment([*missing, *without], kept, same)
    if missing:
        shown = _point(missing[0], extra)
        yield Difference("metric", key, "missing", len(missing), shown, "")
    if extra:
        yield Difference("metric", key, "extra", len(extra), "", _point(extra[0], missing))


def _by_step(points: Iterable[Metric]) -> dict[float | None, list[Metric]]:
    by_step: dict[float | None, list[Metric]] = defaultdict(list)
    for point in points:
        by_step[point.step].append(point)
    return by_step


def _unmatched(
    ours: list[Metric], theirs: list[Metric], same: _Accuracy
) -> tuple[list[Metric], list[Metric]]:
    """Give those of two lists that the other one lacks, each counted once."""
    ours, theirs = sorted(ours, key=same.order), sorted(theirs, key=same.order)
    missing: list[Metric] = []
    extra: list[Metric] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        if same.is_same(ours[i], theirs[j]):
            i, j = i + 1, j + 1
        elif same.order(ours[i]) < same.order(theirs[j]):
            missing.append(ours[i])
            i += 1
        else:
            extra.append(theirs[j])
            j += 1
    return missing + ours[i:], extra + theirs[j:]


def _first_of_each_moment(
    points: list[Metric], kept: set[tuple[object, ...]], same: _Accuracy
) -> list[Metric]:
    """Leave out points that a backend cannot tell from one that it holds."""
    first: dict[tuple[object, ...], Metric] = {}
    for point in points:
        if same.moment(point) not in kept:
            first.setdefault(same.moment(point), point)
    return list(first.values())


def _of_texts(
    kind: _Kind, ours: Mapping[str, object], theirs: Mapping[str, object]
) -> Iterator[Difference]:
    for key, value in ours.items():
        if key not in theirs:
            yield Difference(kind, key, "missing", 1, _short(value), "")
        elif not same_value(value, theirs[key]):
            shown = str if str(value) != str(theirs[key]) else repr
            pair = (_short(shown(value)), _short(shown(theirs[key])))
            yield Difference(kind, key, "different", 1, *pair)


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
    """Tell whether two values are the same to the last digit, where a backend may keep texts.

    A text is that text and nothing else, so that `"007"` is not 7; a whole number is no fraction,
    and neither is a truth value. What is no text may be kept as its text.

    Args:
        ours: What was sent.
        theirs: What the tracker gave back, maybe as a text.
    """
    if isinstance(ours, str):
        return isinstance(theirs, str) and ours == theirs
    if isinstance(theirs, str):
        return _is_text_of(ours, theirs)
    if isinstance(ours, float) and isinstance(theirs, int) and not isinstance(theirs, bool):
        return ours == theirs  # JSON has one kind of number
    return type(ours) is type(theirs) and same_number(ours, theirs)


def _is_text_of(value: object, text: str) -> bool:
    if value is None or isinstance(value, bool):
        return text.lower() in (str(value).lower(), "null" if value is None else "")
    try:
        read = int(text) if isinstance(value, int) else float(text)
    except ValueError:
        return False
    return same_number(value, read)


def same_number(ours: object, theirs: object) -> bool:
    """Tell whether two numbers are equal, or both no number.

    Args:
        ours: What was sent.
        theirs: What the tracker gave back.
    """
    return ours == theirs or (ours != ours and theirs != theirs)  # noqa: PLR0124 - NaN


def _point(point: Metric, others: list[Metric]) -> str:
    """Write a point as short as it can be told from another one."""
    step = "" if point.step is None else f" at step {point.step}"
    shown = f"{point.value:.6g}{step}"
    twins = [other for other in others[:1] if f"{other.value:.6g}" == f"{point.value:.6g}"]
    if any(twin.value != point.value for twin in twins):
        return f"{point.value!r}{step}"
    is_same_step = any(twin.step == point.step for twin in twins)
    return f"{shown}, time {point.timestamp}" if is_same_step else shown


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 80 else f"{text[:40]}…{text[-30:]} ({len(text)} characters)"
