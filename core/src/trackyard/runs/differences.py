"""What is missing or different in a backend's run, beside what was logged?"""

from __future__ import annotations

import filecmp
import math
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import attrs

from trackyard.contract.records import Artifact, Capabilities, Metric, Record
from trackyard.runs.gathered import Gathered, Points
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
    stored: Gathered | Iterable[Record],
    capabilities: Capabilities,
    native: Gathered | None = None,
) -> list[Difference]:
    """List how a backend's records differ from those that it was sent.

    What it holds beyond them, such as tags of its own, is no difference, except for more points
    of a metric. Everything is compared exactly: numbers in as many bits, and times to as many
    nanoseconds, as the flavor declares. Of points that share step, value and, to that accuracy,
    time one may stand for all.

    Args:
        expected: What was sent; it is read once, and points that are there in the same order are
            not kept.
        stored: What the tracker gave back.
        capabilities: What the flavor declares.
        native: What calls of the tracker's own SDK have put there in its own form: metrics and
            params are compared where the backend has them under the same key. It may be gathered
            while `expected` is read.
    """
    theirs = stored if isinstance(stored, Gathered) else Gathered.of(stored)
    same = _Accuracy(capabilities)
    ours, metrics = Gathered(), dict[str, _Matching]()
    for record in expected:
        if isinstance(record, Metric):
            matching = metrics.get(record.key)
            if matching is None:
                matching = metrics[record.key] = _Matching(record.key, theirs, same)
            matching.add(record)
        else:
            ours.add(record)
    for key, points in (native or Gathered()).metrics.items():
        if key in theirs.metrics:
            matching = metrics.setdefault(key, _Matching(key, theirs, same))
            for point in points:
                matching.add(point)
    if native is not None:
        known = {
            key: value
            for key, value in native.params.items()
            # A later value is a tag for the others; the SDK's own backend may have that one.
            if key in theirs.params and str(theirs.params[key]) != native.tags.get(key)
        }
        ours.params = {**known, **ours.params}
    found = [one for matching in metrics.values() for one in matching.differences()]
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

    def order(self, point: Metric) -> tuple[bool, float, int]:
        """Give what points are sorted by: equal ones stand at the same place of two lists."""
        value = point.value
        if self._is_short and math.isfinite(value):
            value = _of_32_bits(value)
        # A backend that gives points times of its own keeps no order of ours.
        time = 0 if self._resolution is None else point.timestamp
        is_none = math.isnan(value)
        return is_none, 0.0 if is_none else value, time

    def is_same(self, ours: Metric, theirs: Metric) -> bool:
        """Tell whether two points of one step are the same."""
        *number, moment = self.order(ours)
        *other, other_moment = self.order(theirs)
        return number == other and abs(moment - other_moment) < (self._resolution or 1)

    def moment(self, point: Metric) -> tuple[object, ...]:
        """Give what points of one key share that a backend may not be able to tell apart."""
        return point.step, str(point.value), point.timestamp // (self._resolution or 1_000_000)


def _of_32_bits(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


class _Matching:
    """Points of one metric as they come, beside those that are there in the same order.

    Args:
        key: The metric.
        theirs: What the tracker gave back.
        same: How exactly they are compared.
    """

    def __init__(self, key: str, theirs: Gathered, same: _Accuracy) -> None:
        self._there = theirs.metrics.get(key) or Points(key)
        self._same = same
        self._met = bytearray()  # of each point that was the same, whether ours has no step
        self._rest = Points(key)

    def add(self, point: Metric) -> None:
        """Take the next point: it is the next one there, or is kept with all behind it."""
        if not self._rest and len(self._met) < len(self._there):
            next_ = self._there[len(self._met)]
            # A backend gives a step of its own to a point without one.
            if point.step in (None, next_.step) and self._same.is_same(point, next_):
                self._met.append(point.step is None)
                return
        self._rest.add(point)

    def differences(self) -> Iterator[Difference]:
        """List what is missing, and what there is more."""
        there = self._there
        before = (
            attrs.evolve(there[place], step=None) if is_stepless else there[place]
            for place, is_stepless in enumerate(self._met)
        )
        behind = [there[place] for place in range(len(self._met), len(there))]
        yield from _of_metric(self._rest.key, [*self._rest], behind, before, self._same)


def _of_metric(
    key: str,
    points: list[Metric],
    there: list[Metric],
    before: Iterable[Metric],
    same: _Accuracy,
) -> Iterator[Difference]:
    """Compare points of a metric, behind those that were the same."""
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
    asked = {same.moment(point) for point in (*missing, *without)}
    if asked:
        kept |= {moment for point in before if (moment := same.moment(point)) in asked}
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
