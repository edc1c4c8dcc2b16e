"""What does a backend hold of a run, and how does it differ from what was logged?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import attrs

from trackyard.contract.records import Artifact, Capabilities, Metric, Param, Record, Tag
from trackyard.runs.differences import Difference, differences

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


def difference(expected: Iterable[Record], stored: StoredRun, capabilities: Capabilities) -> str:
    """Say in words how a backend's run differs from what it was sent; empty where it does not.

    What the backend holds beyond that, such as tags of its own, is no difference, except more
    points of a metric.

    Args:
        expected: What was sent.
        stored: What was read back.
        capabilities: What the flavor declares: how exactly its backend keeps numbers and times.
    """
    found = differences(expected, stored.records, capabilities)
    return _joined([_in_words(one, stored) for one in found])


def _in_words(found: Difference, stored: StoredRun) -> str:
    what = f"{found.kind} {found.key!r}"
    if found.kind == "metric":
        points = f"{found.count} point{'s' if found.count > 1 else ''}"
        if found.problem == "missing":
            return f"{what} lacks {points}, such as {found.expected}"
        return f"{what} has {points} too many, such as {found.found}"
    if found.problem == "missing":
        among = f" among {sorted(stored.artifacts)[:20]}" if found.kind == "artifact" else ""
        return f"{what} is missing{among}"
    if found.found == found.expected:  # such as the size of a file
        return f"{what} is {found.found}, as it was sent, but other ones"
    return f"{what} is {found.found}, not {found.expected}"


def _joined(found: list[str]) -> str:
    rest = len(found) - _SHOWN
    return "; ".join(found[:_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")
