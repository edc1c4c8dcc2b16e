"""Does an experiment tracker work, tried with a run on its real backend?"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Literal

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.contract.flavors import is_offline, notice_of, secrets_of
from trackyard.contract.records import Batch, Failure, Metric, Param, Run, Tag
from trackyard.hooks.discovery import load_plugins
from trackyard.hooks.dispatch import Outcome, TrackerHooks
from trackyard.project.configuration import Project, in_project
from trackyard.project.trackers import Tracker, Trackers
from trackyard.system.conditions import Event
from trackyard.system.showing import Shown, says
from trackyard.tracking.new_runs import new_run

PATIENCE = 15.0
_NAME = "trackyard-check"

StageStatus = Literal["done", "failed", "left out"]


@attrs.frozen(repr=False)
class StageView(Shown):
    """One thing that was tried."""

    stage: str = attrs.field(metadata=says("What was tried"))
    status: StageStatus = attrs.field(metadata=says("Whether it worked"))
    seconds: float = attrs.field(metadata=says("How long it took"))
    note: str = attrs.field(default="", metadata=says("What came of it, or the error"))


@attrs.frozen(repr=False)
class TrackerCheck(Shown):
    """What came of trying an experiment tracker on its backend."""

    name: str = attrs.field(metadata=says("The tracker's name"))
    flavor: str = attrs.field(metadata=says("Its flavor"))
    is_working: bool = attrs.field(metadata=says("Everything that was tried worked"))
    is_offline: bool = attrs.field(metadata=says("Its SDK keeps runs on this machine for now"))
    url: str | None = attrs.field(metadata=says("Where the trial run was"))
    stages: tuple[StageView, ...] = attrs.field(metadata=says("What was tried, in order"))
    problem: str = attrs.field(metadata=says("What went wrong"))
    advice: str = attrs.field(metadata=says("What to type then"))
    notice: str = attrs.field(metadata=says("What one should know about the flavor"))


def check_tracker(
    project: Project,
    name: str,
    *,
    patience: float = PATIENCE,
    progress: Callable[[StageView], None] | None = None,
) -> TrackerCheck:
    """Start, log to and end a run on a tracker, and delete it where the backend can.

    Args:
        project: Where it is configured.
        name: Its name.
        patience: Seconds that it may take in all.
        progress: Called after each thing that was tried.

    Raises:
        ConfigError: There is no such tracker.
    """
    trackers = Trackers(project)
    began = time.monotonic()
    try:
        (tracker,) = trackers.select([name])
    except ConfigError as error:
        if name not in trackers.configured:
            raise
        flavor = trackers.configured[name].options.flavor
        stage = StageView("configuration", "failed", time.monotonic() - began, str(error))
        if progress:
            progress(stage)
        advice = _advice_on_configuration(name, str(error))
        return TrackerCheck(name, flavor, False, False, None, (stage,), str(error), advice, "")
    probe = _Probe(project, tracker, began + patience, progress or (lambda _: None))
    probe.note("configuration", began, note=_secrets_note(tracker))
    return probe.run(patience)


class _Probe:
    """One trial: the hooks run on a thread of their own, which is left alone if it hangs."""

    def __init__(
        self, project: Project, tracker: Tracker, until: float, say: Callable[[StageView], None]
    ) -> None:
        self._project = project
        self._tracker = tracker
        self._until = until
        self._say = say
        self._stages: list[StageView] = []
        self._current = ("import", time.monotonic())
        self._url: str | None = None
        self._is_offline = False
        self._is_given_up = False
        self._done = Event()
        self._folder = Path(tempfile.mkdtemp(prefix="trackyard-check-"))

    def run(self, patience: float) -> TrackerCheck:
        """Try everything; give what came of it."""
        Thread(target=self._try, name="trackyard-check", daemon=True).start()
        is_answered = self._done.wait(max(0.0, self._until - time.monotonic()))
        if not is_answered:
            self._is_given_up = True
            stage, since = self._current
            self.note(stage, since, "failed", f"no answer within {patience:g} s")
        problem = next((s for s in self._stages if s.status == "failed"), None)
        name = self._tracker.name
        if is_answered:
            shutil.rmtree(self._folder, ignore_errors=True)
        return TrackerCheck(
            name,
            self._tracker.options.flavor,
            problem is None,
            self._is_offline,
            self._url,
            tuple(self._stages),
            f"{problem.stage}: {problem.note}" if problem else "",
            _advice(self._tracker, problem.stage, patience, is_answered) if problem else "",
            notice_of(self._tracker.flavor),
        )

    def note(self, stage: str, since: float, status: StageStatus = "done", note: str = "") -> None:
        """Keep what came of a stage, and say it."""
        text = self._tracker.redactor.redact(note)
        view = StageView(stage, status, round(time.monotonic() - since, 3), text)
        self._stages.append(view)
        self._say(view)

    def _try(self) -> None:
        try:
            with in_project(self._project):
                self._try_hooks()
        except Exception as error:  # a fault of ours must not look like a tracker that hangs
            self.note(self._current[0], self._current[1], "failed", f"{type(error).__name__}")
            raise
        finally:
            self._done.set()

    def _try_hooks(self) -> None:
        hooks = TrackerHooks.of(self._tracker, load_plugins()[0])
        run = attrs.evolve(new_run(_NAME, _NAME), folder=self._folder, attached=True)
        if not self._stage("check", lambda: _problems(hooks)):
            return
        if not self._stage("start", lambda: hooks.start_run(self._at(run))):
            return
        self._is_offline = is_offline(hooks.tracker)
        self._url = hooks.url(run)
        logged = self._stage("log", lambda: hooks.log(self._at(run), _batch()), _what_is_logged())
        run = attrs.evolve(run, ended_at=time.time_ns())
        if logged:
            self._stage("end", lambda: hooks.end_run(self._at(run)))
        else:
            failure = Failure("failed", "CheckFailed", "the check could not log to it")
            hooks.fail_run(self._at(run), failure)
        self._url = hooks.url(run) or self._url
        self._delete(hooks, run)

    def _delete(self, hooks: TrackerHooks, run: Run) -> None:
        if hooks.can_delete:
            self._stage("delete", lambda: hooks.delete_run(self._at(run)))
        elif not self._is_given_up:
            note = f"this tracker cannot delete runs; delete {_NAME!r} on its page"
            self.note("delete", time.monotonic(), "left out", note)

    def _stage(self, name: str, call: Callable[[], Outcome], note: str = "") -> bool:
        if self._is_given_up:
            return False
        since = time.monotonic()
        self._current = (name, since)
        outcome = call()
        if self._is_given_up:
            return False
        self.note(name, since, "failed" if outcome.reason else "done", outcome.reason or note)
        return not outcome.reason

    def _at(self, run: Run) -> Run:
        return attrs.evolve(run, deadline=max(1.0, self._until - time.monotonic()))


def _problems(hooks: TrackerHooks) -> Outcome:
    problems = hooks.check()
    return Outcome("broken", reason="; ".join(problems)) if problems else Outcome()


def _batch() -> Batch:
    now = time.time_ns()
    return Batch(
        metrics=(Metric("check", 1.0, 0, now), Metric("check", 2.0, 1, now)),
        params=(Param("checked_by", "trackyard experiment-tracker check"),),
        tags=(Tag("trackyard.check", "true"),),
        first_sequence=0,
        last_sequence=3,
    )


def _what_is_logged() -> str:
    batch = _batch()
    return f"{len(batch.metrics)} metric values, {len(batch.params)} param, {len(batch.tags)} tag"


def _secrets_note(tracker: Tracker) -> str:
    names = list(secrets_of(tracker.new_instance()))
    return f"secrets read: {', '.join(names)}" if names else "no secret is needed"


def _advice_on_configuration(name: str, problem: str) -> str:
    marker = "the environment variable "
    if marker in problem and problem.endswith(" is not set"):
        variable = problem.rpartition(marker)[2].removesuffix(" is not set")
        return f"type: export {variable}=...  then: trackyard experiment-tracker check {name}"
    return f"type: trackyard experiment-tracker update {name} --help"


def _advice(tracker: Tracker, stage: str, patience: float, is_answered: bool) -> str:
    name = tracker.name
    if not is_answered:
        again = f"trackyard experiment-tracker check {name} --timeout {patience * 4:g}"
        return f"give it more time, type: {again}"
    if stage == "delete":
        return f"delete the run {_NAME!r} on the tracker's page"
    return (
        f"see where it goes, type: trackyard experiment-tracker describe {name}; change that, "
        f"type: trackyard experiment-tracker update {name} --help"
    )
