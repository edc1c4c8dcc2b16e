"""Is it still true what the store says of runs, before somebody looks at them?

A run that was killed says that it runs until somebody comes by. A run that no tracker follows is in
the store from its end on, or from the first time that somebody looks.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from trackyard.contract.errors import TrackyardError
from trackyard.journal.pending import is_indexed, mark_as_to_be_indexed, to_be_indexed_folders
from trackyard.journal.reader import is_alive
from trackyard.journal.summaries import is_soon_summed_up
from trackyard.project.configuration import Project
from trackyard.recovery.indexing import for_others, index_folders
from trackyard.store import Store

logger = logging.getLogger("trackyard")

# So many runs at most: who looks waits for them.
_MOST = 200
_OPEN = (
    "SELECT id FROM runs WHERE status = 'running' AND kind = 'run' "
    "ORDER BY started_at DESC LIMIT 1000"
)


def settle(project: Project, store: Store) -> None:
    """Write into the store what it lacks of runs here, and that some have died.

    No tracker is asked and no end is written for one: that is recovery's. It never raises.

    Args:
        project: Whose runs.
        store: Its store.
    """
    if not is_indexed(project.home):
        return  # it says nothing yet, see `trackyard store rebuild`
    try:
        folders = [*to_be_indexed_folders(project.home), *_dead(project, store)]
        chosen = [folder for folder in dict.fromkeys(folders) if is_soon_summed_up(folder)]
        written = index_folders(store, chosen[-_MOST:], partial(for_others, project))
        for folder in [folder for folder in written if folder is not None and is_alive(folder)]:
            mark_as_to_be_indexed(folder)  # it goes on, and nobody else tells the store
    except (TrackyardError, OSError) as error:
        logger.debug("the store keeps what it says of open runs: %s", error)


def _dead(project: Project, store: Store) -> list[Path]:
    """Give the folders here of runs that the store takes for running, and whose process is gone."""
    rows = store.execute(_OPEN, {})
    folders = [project.home / "runs" / row["id"] for row in rows]
    return [folder for folder in folders if folder.is_dir() and not is_alive(folder)]
