"""Does a run that was read fit a filter such as `metrics.loss < 0.1`?

It is asked as `runs list --filter` is: of the index of a store, which has that one run.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from trackyard.journal.descriptions import load_description
from trackyard.journal.summaries import summary_of_folder
from trackyard.project.configuration import Project
from trackyard.recovery.indexing import columns_of


class RunFilter:
    """A filter and a store of its own.

    Args:
        text: See `store.filters`.

    Raises:
        FilterError: It is wrong.
    """

    def __init__(self, text: str) -> None:
        from trackyard.store import Store
        from trackyard.store.filters import compile_filter

        compile_filter(text, is_postgresql=False)
        self._text = text
        self._folder = Path(tempfile.mkdtemp(prefix="trackyard-import-"))
        self._store = Store.of(Project(self._folder, self._folder))

    def fits(self, folder: Path) -> bool:
        """Tell whether a run fits.

        Args:
            folder: The run's folder.
        """
        from trackyard.store.search import search

        description, summary = summary_of_folder(folder, load_description)
        if description is None or summary is None:
            return False
        values = columns_of(description.run) | {
            "parent_id": None,
            "status": summary.status,
            "ended_at": summary.ended_at,
            "error": summary.error,
        }
        self._store.save_run(values, summary.plain())
        wanted = f"run_id = '{folder.name}' and ({self._text})"
        return bool(search(self._store, wanted, most=1, skip=0))

    def close(self) -> None:
        """Delete the store."""
        self._store.close()
        shutil.rmtree(self._folder, ignore_errors=True)
