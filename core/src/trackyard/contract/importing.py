"""Which values cross the contract where runs that a backend, or an export, holds are imported?"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from trackyard.contract.records import Failure, Status, encodable


@attrs.frozen
class RunQuery:
    """Which runs of a backend are wanted; what is None does not matter.

    Attributes:
        place: Where they are: what stands behind the colon in `trackyard import flavor:place`, with
            a path made absolute; None for where the tracker's own configuration leads to.
        experiment: Only runs of the experiment (project) of this name.
        since: Only runs that started then or later, in nanoseconds since the epoch.
        limit: So many runs at most.
        page: How many runs the backend is asked for at once. The hook is a generator: what it gives
            does not depend on this.
    """

    place: str | None = None
    experiment: str | None = None
    since: int | None = None
    limit: int | None = None
    page: int = 500

    def fits(self, run: RemoteRun) -> bool:
        """Tell whether a run is wanted, for backends that cannot be asked for less.

        Args:
            run: The run.
        """
        is_late = self.since is None or run.started_at is None or run.started_at >= self.since
        return is_late and self.experiment in (None, run.experiment)


@attrs.frozen
class RemoteRun:
    """A run as a backend, or an export, knows it; what it does not know is None.

    Attributes:
        remote_id: The backend's own id of the run, which never changes. It does not hold where the
            run lies: what was moved is the same run.
        name: What people call it.
        experiment: The experiment, or project, that it belongs to.
        status: Its status.
        started_at, ended_at: When, in nanoseconds since the epoch.
        parent_id: The `remote_id` of the run that it stands below.
        user: Who made it.
        failure: Why it did not finish.
        version: A text that changes whenever the run does, such as the sizes of its files. A run
            whose version was imported is not read again; without one it is read each time.
        size: About how many bytes are read for it, for the time that is left; 0 if unknown.
    """

    remote_id: str
    name: str | None = None
    experiment: str | None = None
    status: Status | None = None
    started_at: int | None = None
    ended_at: int | None = None
    parent_id: str | None = None
    user: str | None = None
    failure: Failure | None = None
    version: str | None = None
    size: int = 0


@attrs.frozen
class ImportNote:
    """Something of a run that cannot be imported as it is.

    Attributes:
        what: Says it on a line: what, where, and why.
        state: `left` where it is not imported, `changed` where it is, as something else.
        count: How many records it is about.
    """

    what: str = attrs.field(converter=encodable)
    state: Literal["left", "changed"] = "left"
    count: int = 1


def inside(root: Path, path: Path) -> Path | None:
    """Give a file or folder that lies in a folder; None where it is elsewhere, or is a link.

    What a foreign file names is read by this alone.

    Args:
        root: The folder, such as that which is imported.
        path: The path, as the foreign file says; a relative one begins at `root`.
    """
    try:
        whole, real = root / path, (root / path).resolve(strict=True)
        is_inside = real.is_relative_to(root.resolve()) and not whole.is_symlink()
    except (OSError, ValueError, RuntimeError):
        return None
    return real if is_inside else None
