"""Which run has each trial of a search by Ray Tune, also after the search was restored?"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context, copy_context
from logging import getLogger
from typing import Any

import trackyard
from trackyard import ActiveRun, TrackyardError
from trackyard_integrations.joining import Status, TrainingRun

logger = getLogger("trackyard")


class TrialRuns:
    """The runs of a search's trials, below its own.

    Args:
        search: The id of the run that the search has had before.
        known: Likewise those of trials, by the trials' ids.
    """

    def __init__(self, search: str | None = None, known: Mapping[str, str] | None = None) -> None:
        self._search = TrainingRun("ray_tune", search)
        self._known = dict(known or {})
        self._open: dict[str, ActiveRun] = {}
        self._outside: Context | None = None

    def state(self) -> dict[str, Any]:
        """Give what `TrialRuns` takes to go on in the same runs."""
        return {"search": self._search.own_id, "known": dict(self._known)}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_outside": None}

    def of(self, trial: Any) -> ActiveRun:
        """Give a trial's open run.

        Trials go on side by side: each is started as if the others were not.

        Args:
            trial: The trial.
        """
        run = self._open.get(trial.trial_id)
        if run is None:
            if self._outside is None:
                self._search.begin()
                self._outside = copy_context()
            run = self._outside.copy().run(self._started, trial)
            self._open[trial.trial_id] = run
            self._known[trial.trial_id] = run.id
        return run

    def end(self, trial_id: str, status: Status) -> None:
        """End a trial's run, if it is open.

        Args:
            trial_id: The trial's id.
            status: How it has ended.
        """
        run = self._open.pop(trial_id, None)
        if run is not None:
            run.set_status(status)
            run.end()

    def end_all(self, status: Status) -> None:
        """End the runs that are open, and the search's.

        Args:
            status: How those of trials have ended.
        """
        for trial_id in [*self._open]:
            self.end(trial_id, status)
        self._search.end()

    def _started(self, trial: Any) -> ActiveRun:
        if (known := self._known.get(trial.trial_id)) is not None:
            try:
                return trackyard.resume_run(known)
            except TrackyardError as error:  # it was deleted, or still lives in another process
                logger.warning("trial %s goes on as a run of its own: %s", trial.trial_id, error)
        tags = {"ray.trial_id": trial.trial_id, "ray.folder": str(trial.path or "")}
        return trackyard.start_run(str(trial), nested=True, tags=tags)
