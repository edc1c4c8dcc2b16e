"""What does a backend hold of a run, and how does it differ from what was logged?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import attrs

from trackyard.contract.records import Artifact, Metric, Param, Record, Tag
from trackyard.runs.differences import same_number, same_value

_SHOWN = 5


@attrs.frozen(slots=False)
class StoredRun:
    """Records of one run as a backend gives them back.

    Attributes:
        records: What `tracker_read_run`, or the `read_back` fixture, gave.
    """

    records: tuple[Record, ...]

    @cached_property
    def metrics(self) -> Mapping[str, list[Metric]]:
        """The metrics by key, each in the backend's order."""
        found: dict[str, list[Metric]] = defaultdict(list)
        for record in self.records:
            if isinstance(record, Metric):
                found[record.key].append(record)
        return found

    @cached_property
    def params(self) -> Mapping[str, object]:
        """The values of params by key."""
        return {record.key: record.value for record in self.records if isinstance(record, Param)}

    @cached_property
    def tags(self) -> Mapping[str, str]:
        """The values of tags by key."""
        return {record.key: record.value for record in self.records if isinstance(record, Tag)}

    @cached_property
    def artifacts(self) -> Mapping[str, bytes]:
        """The contents of artifacts by name."""
        found = [record for record in self.records if isinstance(record, Artifact)]
        return {artifact.name: Path(artifact.path).read_bytes() for artifact in found}

    def values(self, key: str) -> list[float]:
        """Give the values of a metric."""
        return [metric.value for metric in self.metrics.get(key, [])]

    def steps(self, key: str) -> list[int | float | None]:
        """Give the steps of a metric."""
        return [metric.step for metric in self.metrics.get(key, [])]

    def label(self, key: str) -> str | None:
        """Give a tag, or what a backend without tags keeps of it among its params."""
        value = self.tags.get(key, self.params.get(key))
        return None if value is None else str(value)

    @property
    def status(self) -> str | None:
        """The final status that the flavor mirrors."""
        return self.label("trackyard.status")


def difference(expected: Iterable[Record], stored: StoredRun) -> str:
    """Say in words how a backend's run differs from what it was sent; empty where it does not.

    What the backend holds beyond that, such as tags of its own, is no difference, except more
    points of a metric.

    Args:
        expected: What was sent.
        stored: What was read back.
    """
    wanted = StoredRun(tuple(expected))
    found = [_metric_difference(key, points, stored) for key, points in wanted.metrics.items()]
    for kind, ours, theirs in (
        ("param", wanted.params, {**stored.tags, **stored.params}),
        ("tag", wanted.tags, {**stored.params, **stored.tags}),
    ):
        for key, value in ours.items():
            if key not in theirs:
                found.append(f"{kind} {key!r} is missing")
            elif not same_value(value, theirs[key]):
                found.append(f"{kind} {key!r} is {_short(theirs[key])}, not {_short(value)}")
    for name, content in wanted.artifacts.items():
        if name not in stored.artifacts:
            found.append(f"artifact {name!r} is missing among {sorted(stored.artifacts)[:20]}")
        elif stored.artifacts[name] != content:
            found.append(f"artifact {name!r} has {_short(stored.artifacts[name])}")
    return _joined([text for text in found if text])


def _metric_difference(key: str, points: list[Metric], stored: StoredRun) -> str:
    there = stored.metrics.get(key, [])
    if len(there) != len(points):
        return f"metric {key!r} has {len(there)} points, not {len(points)}"
    # In the order of time: which of two points of one moment comes first is the backend's to say.
    ours, theirs = sorted(points, key=_place), sorted(there, key=_place)
    for point, other in zip(ours, theirs, strict=True):
        is_step_kept = point.step is None or point.step == other.step
        if not is_step_kept or not same_number(point.value, other.value):
            found, wanted = f"{other.value} at step {other.step}", f"{point.value} at {point.step}"
            return f"metric {key!r} has {found}, not {wanted}"
    return ""


def _place(metric: Metric) -> tuple[float, float]:
    return (metric.step or 0, -math.inf if math.isnan(metric.value) else metric.value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:40]}…{text[-30:]} ({len(text)} characters)"


def _joined(found: list[str]) -> str:
    rest = len(found) - _SHOWN
    return "; ".join(found[:_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")
