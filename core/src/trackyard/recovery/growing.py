"""What do runs come to that go on: who sums up their journals, and tells the store?

The watchdog of their process does so, beside the step, every few seconds.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from trackyard.contract.errors import TrackyardError
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.pending import (
    mark_as_indexed,
    to_be_indexed_folders,
    to_be_shared_folders,
)
from trackyard.journal.summaries import Summing, keep_summary, kept_summary
from trackyard.project.configuration import Project
from trackyard.project.storing import names_store
from trackyard.recovery.indexing import for_others, index_folders, live_columns
from trackyard.store import Store
from trackyard.store.saving import save_running
from trackyard.system.helpers import helper_command

logger = logging.getLogger("trackyard")

# Bytes that are read of a run before others have their turn, half a second about.
_AT_ONCE = 32 * 1024 * 1024
_MUCH = 1024 * 1024
# Seconds that the store is waited for: its values come again.
_PATIENCE = 0.5
# Seconds between two times that journals of runs that go on are sent to an artifact store.
SHARE_EVERY = 60.0


class GrowingRuns:
    """Sums up the runs of one process, each part of their journals once.

    Args:
        project: Their project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._runs: dict[Path, tuple[RunDescription, Summing]] = {}
        self._next_sharing = time.monotonic() + SHARE_EVERY
        self._sharing: subprocess.Popen[bytes] | None = None

    def look_at(self, folders: Iterable[Path]) -> bool:
        """Read on in runs that go on, and write what they come to into the store on this machine.

        A team's store gets that with its signs of life.

        Args:
            folders: The runs' folders.

        Returns:
            There was much to be read, and there may be more soon.
        """
        is_more = False
        for folder in folders:
            try:
                is_more |= self._read_on(folder)
            except Exception as error:  # whatever is wrong with one run
                logger.debug("%s cannot be summed up: %s", folder, error)
        return is_more

    def share(self) -> None:
        """Have a process send journals to the team's artifact store, each minute; never raises."""
        now = time.monotonic()
        if now < self._next_sharing or (self._sharing and self._sharing.poll() is None):
            return
        self._next_sharing = now + SHARE_EVERY
        try:
            if to_be_shared_folders(self._project.home):
                self._sharing = subprocess.Popen(
                    helper_command("trackyard.recovery.sharing", str(self._project.root)),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
        except OSError as error:
            logger.debug("no journal of %s is sent: %s", self._project.home, error)

    def finish(self, folders: Iterable[Path]) -> None:
        """Sum up runs that have ended, where their own process left that.

        Args:
            folders: The runs' folders.
        """
        waiting = {folder.name for folder in to_be_indexed_folders(self._project.home)}
        for folder in folders:
            known = self._runs.pop(folder, None)
            try:
                if known is not None and kept_summary(folder) is None:
                    _, summing = known
                    summing.read_on()
                    keep_summary(folder, summing.summary())
                if folder.name in waiting:
                    self._index(folder)
            except Exception as error:
                logger.debug("%s cannot be summed up: %s", folder, error)

    def _read_on(self, folder: Path) -> bool:
        known = self._runs.get(folder)
        if known is None:
            description = load_description(folder)
            if description is None:
                return False  # nothing was logged yet
            known = self._runs[folder] = description, Summing(folder, description)
        description, summing = known
        read = summing.read_on(_AT_ONCE)
        if read and not names_store(self._project):
            self._write(folder, description, summing)
        return read >= _MUCH

    def _write(self, folder: Path, description: RunDescription, summing: Summing) -> None:
        store = Store.of(self._project, _PATIENCE)
        try:
            values = live_columns(folder, description)
            if save_running(store, values, summing.summary().plain()):
                mark_as_indexed(folder)
        except TrackyardError as error:
            logger.debug("the store gets values of %s later: %s", folder, error)
        finally:
            store.close()

    def _index(self, folder: Path) -> None:
        store = Store.of(self._project)
        try:
            for _ in index_folders(store, [folder], partial(for_others, self._project)):
                pass
        finally:
            store.close()
