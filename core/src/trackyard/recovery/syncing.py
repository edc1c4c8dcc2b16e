"""How does everything that trackers lack reach them, in one pass?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from trackyard.delivery.reports import TrackerReport
from trackyard.project.configuration import Project
from trackyard.recovery.catching_up import Owed
from trackyard.recovery.finishing import PendingRun, end_the_dead, sync_runs
from trackyard.recovery.uploading import find_kept_offline, upload_run
from trackyard.system.showing import Shown


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@attrs.frozen(kw_only=True, repr=False)
class SyncRow(Shown):
    """How a run stands on a tracker after a pass of `trackyard sync`."""

    run: str = attrs.field(metadata=_help("The run's name"))
    id: str = attrs.field(metadata=_help("Its id"))
    tracker: str = attrs.field(
        default="", metadata=_help("The tracker's name; empty for a run that is running")
    )
    state: Literal["complete", "incomplete", "uploaded", "running"] = attrs.field(
        metadata=_help("`complete`, `incomplete`, `uploaded` or `running`")
    )
    url: str | None = attrs.field(default=None, metadata=_help("The run's address there"))
    delivered: int = attrs.field(default=0, metadata=_help("Records that it has"))
    pending: int = attrs.field(default=0, metadata=_help("Records that are sent later"))
    quarantined: int = attrs.field(default=0, metadata=_help("Records that it refused for good"))
    lost: int = attrs.field(
        default=0, metadata=_help("Log calls lost to a full or damaged disk, or with a machine")
    )
    problem: str = attrs.field(default="", metadata=_help("The last error as one line"))

    @classmethod
    def of(
        cls, pending: PendingRun, report: TrackerReport, state: Literal["complete", "uploaded"]
    ) -> SyncRow:
        """Make the row of a report."""
        return cls(
            run=pending.description.run.name,
            id=pending.folder.name,
            tracker=report.tracker,
            state=state if report.is_complete else "incomplete",
            url=report.url,
            delivered=report.delivered,
            pending=report.pending,
            quarantined=report.quarantined,
            lost=report.lost,
            problem=report.problem,
        )


def synchronise(
    project: Project,
    *,
    patience: float = 10.0,
    timeout: float | None = None,
    progress: Callable[[list[Owed]], None] | None = None,
) -> list[SyncRow]:
    """Deliver what trackers lack, end dead runs, upload what SDKs keep offline.

    Args:
        project: The project.
        patience: Seconds to go on with a tracker that fails.
        timeout: Seconds for each tracker at most, or None.
        progress: Called again and again while something is delivered.
    """
    pending = end_the_dead(project)
    rows = [
        SyncRow(run=run.description.run.name, id=run.folder.name, state="running")
        for run in pending
        if run.is_alive
    ]
    delivered = sync_runs(
        pending, project, patience=patience, timeout=timeout, isolates=True, progress=progress
    )
    rows += [SyncRow.of(run, report, "complete") for run, report in delivered]
    hanging: set[str] = set()
    for kept in find_kept_offline(project):
        for report in upload_run(kept, project, timeout=timeout, leave_out=hanging):
            rows.append(SyncRow.of(kept, report, "uploaded"))
            if "has not returned" in report.problem:
                hanging.add(report.tracker)
    return rows
