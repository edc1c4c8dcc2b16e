"""How does a run stand on each of its trackers: what has arrived, and what has not?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import attrs

from trackyard.delivery.reports import TrackerReport, report_of
from trackyard.delivery.state import load_state
from trackyard.journal.descriptions import RunDescription
from trackyard.system.showing import Shown, line, says

HealthState = Literal["complete", "pending", "offline"]

_COUNTS = (
    "delivered",
    "native",
    "pending",
    "quarantined",
    "lost",
    "hung",
    "accepted",
    "unaccepted",
)


@attrs.frozen(repr=False)
class TrackerHealth(Shown):
    """How one run, or several together, stand on one tracker."""

    tracker: str = attrs.field(metadata=says("The tracker's name"))
    state: HealthState = attrs.field(
        metadata=says("`offline` where its SDK keeps the run until `trackyard sync`")
    )
    delivered: int = attrs.field(metadata=says("Records that it was sent"))
    native: int = attrs.field(metadata=says("Records that calls of its own SDK have put there"))
    pending: int = attrs.field(metadata=says("Records that are sent later"))
    quarantined: int = attrs.field(metadata=says("Records that it refused"))
    lost: int = attrs.field(
        metadata=says("Log calls lost to a full or damaged disk, or with a machine")
    )
    hung: int = attrs.field(metadata=says("Hooks that hung, and were left alone or killed"))
    changed: int = attrs.field(metadata=says("How often something was changed to fit it"))
    changes: dict[str, int] = attrs.field(metadata=says("What was changed, with how often"))
    url: str | None = attrs.field(metadata=says("The run's address there"))
    problem: str = attrs.field(metadata=says("The last error as one line"))
    accepted: int = attrs.field(
        default=0, metadata=says("How much of what it lacks was accepted by name")
    )
    unaccepted: int = attrs.field(
        default=0, metadata=says("How much it lacks besides: records, log calls, ends of runs")
    )

    @property
    def is_well(self) -> bool:
        """The tracker has all that was logged."""
        return self.state == "complete" and not (self.quarantined or self.lost)


def health_of(folder: Path, description: RunDescription) -> tuple[TrackerHealth, ...]:
    """Say how a run stands on each of its trackers, from what is noted on disk.

    Args:
        folder: The run's folder.
        description: What is written down there of the run and its trackers.
    """
    folders = [(tracker.name, folder / tracker.folder) for tracker in description.trackers]
    return joined(report_of(name, load_state(path), path) for name, path in folders)


def joined(reports: Iterable[TrackerReport]) -> tuple[TrackerHealth, ...]:
    """Add up reports by tracker, in the order in which the trackers come first."""
    return added_up(_health(report) for report in reports)


def added_up(healths: Iterable[TrackerHealth]) -> tuple[TrackerHealth, ...]:
    """Add up the health of several runs by tracker."""
    by_tracker: dict[str, list[TrackerHealth]] = {}
    for health in healths:
        by_tracker.setdefault(health.tracker, []).append(health)
    return tuple(_sum(of) for of in by_tracker.values())


def health_lines(healths: Iterable[TrackerHealth]) -> list[str]:
    """Write health for people: a line for each tracker, and one for each kind of change."""
    healths = list(healths)
    width = max((len(line(health.tracker)) for health in healths), default=0)
    lines = []
    for health in healths:
        counts = f"{health.delivered} delivered"
        for name in ("native", "pending", "quarantined", "lost", "hung", "changed", "accepted"):
            if getattr(health, name):
                counts += f", {getattr(health, name)} {name}"
        counts += ", kept offline until: trackyard sync" if health.state == "offline" else ""
        problem = f"  {line(health.problem)}" if health.problem else ""
        lines.append(f"{line(health.tracker):{width}}  {counts}{problem}")
        lines += [f"{'':{width}}  changed: {what} ({n})" for what, n in health.changes.items()]
    return lines


def _health(report: TrackerReport) -> TrackerHealth:
    whole: HealthState = "offline" if report.is_kept_offline else "complete"
    return TrackerHealth(
        tracker=report.tracker,
        state=whole if report.is_complete else "pending",
        delivered=report.delivered,
        native=report.native,
        pending=report.pending,
        quarantined=report.quarantined,
        lost=report.lost,
        hung=report.abandoned,
        changed=sum(report.changes.values()),
        changes=dict(report.changes),
        url=report.url,
        problem=report.problem,
        accepted=min(report.accepted, report.lacking),
        unaccepted=max(0, report.lacking - report.accepted),
    )


def _sum(healths: list[TrackerHealth]) -> TrackerHealth:
    changes = Counter[str]()
    for health in healths:
        changes.update(health.changes)
    states: tuple[HealthState, ...] = ("pending", "offline", "complete")
    found = {health.state for health in healths}
    return TrackerHealth(
        tracker=healths[0].tracker,
        state=next(state for state in states if state in found),
        changed=changes.total(),
        changes=dict(changes),
        url=next((health.url for health in healths if health.url), None),
        problem=next((health.problem for health in healths if health.problem), ""),
        **{name: sum(getattr(health, name) for health in healths) for name in _COUNTS},
    )
