"""Which runs go into a file for others, by the names that people type?"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from trackyard.project.configuration import Project
from trackyard.recovery.archives import write_archive
from trackyard.runs.fetching import runs_at_hand


def archive_runs(project: Project, names: Iterable[str], file: Path) -> int:
    """Write runs into one file; give how many.

    Args:
        project: The project.
        names: Names, ids or prefixes of ids; a pipeline run stands for all of its steps' runs.
        file: The file, which is replaced.

    Raises:
        RunNotFoundError: One is not there.
        TrackyardError: A run is still running, or the file cannot be written.
    """
    with ExitStack() as stack:
        every = [stack.enter_context(runs_at_hand(project, name)) for name in names]
        found = {run.folder.name: run for of_name in every for run in of_name}
        return write_archive(found.values(), file)
