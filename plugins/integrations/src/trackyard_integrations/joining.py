"""Which run does a framework's training log to, and which of its values can be logged?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, wraps
from typing import Any, Literal, ParamSpec

import trackyard
from trackyard import ActiveRun, NoActiveRunError, RequiredTrackerError, TrackyardError

logger = logging.getLogger("trackyard")

Status = Literal["finished", "failed", "killed"]
Arguments = ParamSpec("Arguments")


class TrainingRun:
    """The run of a training: the one that is there, else one of its own, which it also ends.

    A run travels to other processes as its id, and whoever gets a copy ends nothing.
    """

    def __init__(self, name: str, own_id: str | None = None) -> None:
        self._name = name
        self._run: ActiveRun | None = None
        self._own_id = own_id
        self._is_own = False

    @property
    def own_id(self) -> str | None:
        """The id of its own run, if it has had one: a training that is restored is given that."""
        return self._own_id

    def begin(self) -> ActiveRun:
        """Give the run; a training that begins again goes on with its own."""
        if self._run is None:
            try:
                self._run = trackyard.current_run()
            except NoActiveRunError:
                self._run = self._own_run()
                self._own_id, self._is_own = self._run.id, True
        return self._run

    def _own_run(self) -> ActiveRun:
        if self._own_id is not None:
            return trackyard.resume_run(self._own_id)
        return trackyard.start_run(experiment=self._name)

    def end(self, status: Status = "finished") -> None:
        """Let go of the run, and end it if it is the training's own."""
        run, is_own = self._run, self._is_own
        self._run, self._is_own = None, False
        if run is not None and is_own:
            run.set_status(status)
            run.end()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_is_own": False}


def current_run_for(call: str) -> ActiveRun | None:
    """Give the run that is current, for what cannot know when one of its own would end.

    Args:
        call: What logs, for the one warning where there is no run.
    """
    try:
        return trackyard.current_run()
    except NoActiveRunError as error:
        _warn_once(f"{call} logs nothing: {error}")
        return None


@lru_cache(maxsize=1000)
def _warn_once(text: str) -> None:
    logger.warning("%s", text)


def contained(call: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Keep what goes wrong in a call out of the training: it is a warning, once for each reason.

    A tracker with `required = true` that fails is raised, since it was asked for.
    """

    @wraps(call)
    def contained_call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            call(*args, **kwargs)
        except RequiredTrackerError:
            raise
        except Exception as error:
            _warn_once(f"{call.__qualname__} logged nothing: {error}")

    return contained_call


def points_before(run: ActiveRun) -> dict[str, int]:
    """Give how many points each metric of a run has by now: none, unless it is resumed.

    Args:
        run: The run.
    """
    try:
        found = trackyard.Client().get_run(run.id).metrics
    except TrackyardError:  # a step of a pipeline, which is not resumed
        return {}
    return {key: metric.points for key, metric in found.items()}


def next_step(run: ActiveRun, keys: Iterable[str]) -> int:
    """Give the step with which a training goes on in a run, where its framework counts anew.

    Args:
        run: The run.
        keys: The metrics that are logged next.
    """
    before = points_before(run)
    return max((before.get(key, 0) for key in keys), default=0)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Give those of a framework's values that are numbers, also scalars of arrays and tensors."""
    found = {}
    for key, value in values.items():
        if value is None or isinstance(value, str | bytes | bool):
            continue
        try:
            found[str(key)] = float(value.item() if hasattr(value, "item") else value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            continue
    return found
