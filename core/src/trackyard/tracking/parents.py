"""What does a run that stands below another one have to know of it?"""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen
class ParentRun:
    """The run that another one stands below: a pipeline run above its steps, a run above a child.

    Attributes:
        id: Its id.
        folder: Its folder.
        group: The group that its child runs share.
        trackers: The names of its trackers.
    """

    id: str
    folder: Path
    group: str
    trackers: frozenset[str]
