"""What does a user call inside a run: `current_run` and the portable calls?"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from threading import Lock, get_ident
from time import time_ns
from typing import Any, ClassVar, Protocol, Self, get_args

from trackyard.contract.errors import ConfigError, NoActiveRunError, RunEndedError
from trackyard.contract.records import FinalStatus, ParamValue
from trackyard.journal.entries import Entry
from trackyard.project.trackers import Tracker
from trackyard.redaction.redactor import Redactor
from trackyard.system.coercing import to_number, to_pairs, to_text
from trackyard.system.environment import NAMED, is_disabled, named_run_id
from trackyard.system.inside_hooks import is_inside_hook
from trackyard.tracking.containing import contained
from trackyard.tracking.covering import cover, followed, uncover
from trackyard.tracking.file_calls import FileCalls, shown, swapped
from trackyard.tracking.new_runs import new_run
from trackyard.tracking.params import param_of, params_of
from trackyard.tracking.plain_values import PlainValues
from trackyard.tracking.tracked_runs import TrackedRun

logger = logging.getLogger("trackyard")

# Steps from 0 to here are kept as they are; CPython compares such integers in one instruction.
_SMALL = 2**30 - 1


# The id of what stands in for a run where there is none.
NO_RUN = "0" * 32


class Opened(Protocol):
    """The block of a run that has been entered."""

    def take(self) -> Callable[..., bool | None]:
        """Give what leaves the block, and forget it: who drops that leaves the block, too."""


class _Exit:
    """`ActiveRun.__exit__`, which a `with` statement holds alone.

    What a signal's handler raises just as a block is left may keep all of its exit from being done:
    the block is left then, since nobody holds it any more.
    """

    def __get__(self, run: ActiveRun | None, _: object = None) -> Callable[..., bool | None]:
        return self if run is None else run.leaving()

    def __call__(self, run: ActiveRun, *error: Any) -> bool | None:
        return run.leaving()(*error)


class ActiveRun(FileCalls):
    """A run that is being tracked. Its log calls reach every tracker of the run.

    No log call raises or waits for a tracker, whatever it is given; what cannot be logged is
    named in a warning of the logger `trackyard`. Any thread may log.
    """

    def __init__(self, tracked: TrackedRun, *, is_muted: bool = False) -> None:
        super().__init__(tracked)
        self._is_disabled |= is_muted
        self._opened: Opened | None = None
        self._append_metric = tracked.append_metric
        self._append_metrics = tracked.append_metrics
        self._keys = tracked.keys
        self.thread = get_ident()
        # The run that was current before.
        self.outer: ActiveRun | None = None
        self.is_left = False  # it is current no more

    def opens(self, opened: Opened) -> None:
        """Take over what was opened for the run."""
        self._opened = opened

    def __enter__(self) -> Self:
        return self

    __exit__: ClassVar[Any] = _Exit()

    def leaving(self) -> Callable[..., bool | None]:
        """Give what ends the run, where this object is to do that; it can be had once."""
        return _leave_alone if self._opened is None else self._opened.take()

    def end(self) -> None:
        """End the run, where no `with` block does: it is finished, or as `set_status` said.

        Raises:
            RequiredTrackerError: A tracker with `required = true` did not take everything.
        """
        if self._opened is None:
            self._warn(f"end: run {self.name!r} is ended by its step, or its own process")
        else:
            self._opened.take()(None, None, None)

    def __reduce__(self) -> tuple[Callable[..., ActiveRun], tuple[str, str]]:
        """Travel as the id: another process adds to the same run, this one finds it again."""
        return _found_again, (self.id, str(self.folder))

    @property
    def is_muted(self) -> bool:
        """Whether there is no run behind it, so that nothing is kept of what it logs."""
        return self._tracked.run.id == NO_RUN

    @property
    def id(self) -> str:
        """The run's id: 32 hexadecimal digits."""
        return self._tracked.run.id

    @property
    def parent_id(self) -> str | None:
        """The id of the run that it is a child of, or None."""
        return self._tracked.run.parent_id if self._tracked.run.is_child else None

    @property
    def name(self) -> str:
        """The run's name."""
        return self._tracked.run.name

    @property
    def folder(self) -> Path:
        """The folder of the run's files on this machine."""
        return self._tracked.folder

    @property
    def url(self) -> str | None:
        """The run's address on the first tracker that has one, or None; see `urls`."""
        return next(iter(self.urls.values()), None)

    @property
    def urls(self) -> dict[str, str]:
        """The run's addresses by tracker name, as far as they are known.

        Where a running event loop started the run, its trackers were not waited for: whoever reads
        this first does so, for as long as their `start_timeout` allows.
        """
        self._tracked.wait_for_starts()
        return self._tracked.urls

    @contained()
    def set_status(self, status: FinalStatus) -> None:
        """Say how the run ends: what its code says counts, however it ends.

        A trial that a search has pruned is `killed`, whether its block is left by an exception or
        not; it is so, too, where the process dies before the end. The last call counts.

        Args:
            status: `finished`, `failed` or `killed`.
        """
        text = to_text(status).lower()
        known = next((one for one in get_args(FinalStatus) if one == text), None)
        if known is None:
            words = ", ".join(get_args(FinalStatus))
            self._warn(f"set_status: {shown(status)!r} is none of {words}")
        elif not self._is_disabled:
            self._tracked.set_status(known)

    def native_run(self, name: str) -> object:
        """Give the SDK's own run object that a tracker offers, or None where it offers none."""
        return self._tracked.native_runs.get(name)

    def log_metric(self, key: str, value: Any, step: Any = None) -> None:
        """Log one number, such as a loss.

        Args:
            key: Its name; slashes make groups, as in `train/loss`.
            value: A number, or a scalar of numpy, torch or jax. NaN and infinities are kept.
            step: The training step that it belongs to.
        """
        try:
            # The usual types are told apart here: this call stands in training loops.
            if type(key) is not str:
                if key is None:
                    self._warn("a metric whose key is None was not logged; give it a name")
                    return
                key = to_text(key)
            text = self._keys[key]
            number = value if type(value) is float else to_number(value)
            if number is None:
                hints = swapped("log_metric", key, value)
                problem = "; ".join([f"{shown(value)} is no number", *hints])
                self._warn(f"metric {text!r} was not logged: {problem}")
            elif not self._is_disabled:
                if step is not None and (type(step) is not int or step < 0 or step > _SMALL):
                    step = self._step(step)
                self._append_metric(time_ns(), step, text, number)
        except (RecursionError, MemoryError):  # see `contained`, which would cost this call more
            self._tracked.journal.dropped += 1

    @contained()
    def log_metrics(self, metrics: Mapping[str, Any], step: Any = None) -> None:
        """Log several numbers of the same moment and step.

        Args:
            metrics: Numbers by name; what is no number is left out with a warning.
            step: The training step that they belong to.
        """
        numbers, keys = {}, self._keys
        for key, value in self._pairs("log_metrics", metrics):
            number = value if type(value) is float else to_number(value)
            if number is None:
                self._warn(f"metric {keys[key]!r} was not logged: {shown(value)} is no number")
            else:
                numbers[keys[key]] = number
        if numbers and not self._is_disabled:
            total = sum(numbers.values())
            if step is not None and (type(step) is not int or step < 0 or step > _SMALL):
                step = self._step(step)
            self._append_metrics(time_ns(), step, numbers, total - total == 0.0)

    @contained()
    def log_param(self, key: str, value: Any) -> None:
        """Log one input of the run, such as a learning rate.

        Args:
            key: Its name.
            value: A number, a bool, None or a text; anything else is kept as its text.
        """
        if self._has_key("param", key):
            self._warn_of("log_param", swapped("log_param", key, value))
            self._append(Entry("params", time_ns(), None, {to_text(key): self._param(value)}))

    @contained()
    def log_params(self, params: Any) -> None:
        """Log several inputs: a mapping, pairs, or an object with fields, such as a dataclass.

        Args:
            params: The inputs. What is nested gets keys such as `optimizer.lr`, unless `[params]`
                of the configuration says otherwise.
        """
        values, tracked = PlainValues(), self._tracked
        pairs = params_of(params, tracked.params, tracked.redactor.redact_nested, values)
        if pairs is None:
            self._warn(
                f"log_params: {shown(params)} is no dict of keys and values; nothing was logged"
            )
        elif pairs:
            self._append(Entry("params", time_ns(), None, pairs))
        self._warn_of("log_params", values.notes)

    @contained()
    def set_tag(self, key: str, value: Any) -> None:
        """Set one label; the last value counts.

        Args:
            key: Its name.
            value: Its text.
        """
        if self._has_key("tag", key):
            self._warn_of("set_tag", swapped("set_tag", key, value))
            text = to_text(self._param(value))
            self._append(Entry("tags", time_ns(), None, {to_text(key): text}))

    @contained()
    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set several labels."""
        pairs = {
            key: value if type(value) is str else to_text(self._param(value))
            for key, value in self._pairs("set_tags", tags)
        }
        if pairs:
            self._append(Entry("tags", time_ns(), None, pairs))

    def _pairs(self, call: str, values: Any) -> list[tuple[str, Any]]:
        pairs = to_pairs(values)
        if pairs is None:
            self._warn(f"{call}: {shown(values)} is no dict of keys and values; nothing was logged")
            return []
        if type(values) is dict and None not in values:
            return pairs  # type: ignore[return-value] # none of their keys is None
        named = [(key, value) for key, value in pairs if key is not None]
        if len(named) < len(pairs):
            self._warn(f"{call}: a value whose key is None was left out; give it a name")
        return named

    def _param(self, value: Any) -> ParamValue:
        """Give what is kept of a param, which may be a whole configuration with secrets in it."""
        return param_of(value, self._tracked.redactor.redact_nested, PlainValues())

    def __repr__(self) -> str:
        url = next(iter(self._tracked.urls.values()), "without URL")
        return f"<ActiveRun {self.name} {url}>"


# A context variable is per thread and task; the list serves threads that a step started.
_current: ContextVar[ActiveRun | None] = ContextVar("trackyard_current_run", default=None)
active_runs: list[ActiveRun] = []


def current_run() -> ActiveRun:
    """Give the run that this code belongs to.

    A thread that a step started finds the process's only active run, and a child process the one
    that `TRACKYARD_RUN_ID` names.

    Raises:
        NoActiveRunError: There is no run, or several and none of them is this thread's.
    """
    run = _innermost()
    if run is not None:
        return run
    if is_inside_hook():
        raise NoActiveRunError("a tracker's hook cannot log into the run that it serves")
    active = list(active_runs)
    if active and _are_one_in_another(active):
        return active[-1]
    if active:
        raise NoActiveRunError(
            f"{len(active)} runs are active and none is this thread's; "
            "call the methods of the run that you mean, such as run.log_metric(...)"
        )
    named = named_run_id()
    if named is not None:
        return attached_to(named)
    if is_disabled():
        return muted_run("TRACKYARD_DISABLE")
    raise NoActiveRunError(
        "no run is active; log inside a @step of a running pipeline, "
        "or inside `with trackyard.start_run(...)`"
    )


def run_around() -> TrackedRun | None:
    """Give the run in which a child run would be started here; None where there is none.

    In a thread that a run has started it is that run, also while its other threads have child runs.

    Raises:
        NoActiveRunError: There are several, and none of them is this thread's.
    """
    active = list(active_runs)
    ids = {run.id for run in active}
    outermost = [run for run in active if run.parent_id not in ids]
    if _innermost() is None and len(outermost) == 1 and not _are_one_in_another(active):
        return tracked_run_of(outermost[0])
    if not active and (is_inside_hook() or named_run_id() is None):
        return None
    run = current_run()
    return None if run.is_muted else tracked_run_of(run)


def _are_one_in_another(active: Sequence[ActiveRun]) -> bool:
    """Tell whether each run but the first is a child of the one before it, in one thread."""
    return all(b.parent_id == a.id and b.thread == a.thread for a, b in pairwise(active))


def _leave_alone(*_: object) -> None:
    """Leave a block whose run somebody else ends."""


def tracked_run_of(run: ActiveRun) -> TrackedRun:
    """Give what stands behind a run that is being tracked."""
    return run._tracked  # noqa: SLF001 - nothing that users need


def _innermost() -> ActiveRun | None:
    """Give this thread's or task's innermost run that has not ended.

    Blocks in generators are left in any order, and in other contexts than they were entered in.
    """
    run = _current.get()
    while run is not None and run not in active_runs:
        run = run.outer
    return run


# The runs of other processes that this one has added to, and what stands in for those that ended.
_attached: dict[str, ActiveRun] = {}
_attaching = Lock()


def attached_to(run_id: str, folder: str | None = None) -> ActiveRun:
    """Give a run of another process, to add to it; one that has ended is said once, and muted.

    Args:
        run_id: The run.
        folder: Its folder, where the environment does not name it.
    """
    from trackyard.tracking import attaching  # with configuration, which a step does not need

    with _attaching:
        if run_id not in _attached:
            try:
                _attached[run_id] = ActiveRun(attaching.attach(run_id, folder))
            except RunEndedError as error:
                logger.warning("%s; what this process logs to it is not kept", error)
                _attached[run_id] = muted_run("it has ended")
            except ConfigError as error:
                logger.warning("%s; what this process logs is not kept", error)
                _attached[run_id] = muted_run("its project cannot be read")
        return _attached[run_id]


def _found_again(run_id: str, folder: str) -> ActiveRun:
    """Give the run of an id that has travelled: this process's own, or that of another one."""
    own = next((run for run in active_runs if run.id == run_id), None)
    if own is not None:
        return own
    try:
        return muted_run("there is none") if run_id == NO_RUN else attached_to(run_id, folder)
    except NoActiveRunError as error:
        logger.warning("%s; what this process logs to it is not kept", error)
        return muted_run("it is not there")


def muted_run(reason: str) -> ActiveRun:
    """Give what stands in for a run where there is none: nothing is kept of what it logs.

    Args:
        reason: Why there is none, for the log of who debugs.
    """
    logger.debug("what is logged is not kept: %s", reason)
    nobody = new_run("none", "default", id=NO_RUN)
    return ActiveRun(TrackedRun(nobody, Path(os.devnull), [], Redactor()), is_muted=True)


@contextmanager
def muted_without_run(name: str) -> Iterator[None]:
    """Let a step that is called as a plain function log into the run around it, or into none.

    Args:
        name: The step's name.
    """
    if active_runs or named_run_id() is not None or is_inside_hook():
        yield
        return
    run = muted_run(f"step {name!r} is called outside a pipeline, and no run is active")
    activate(run)
    try:
        yield
    finally:
        deactivate(run)


def native_run(name: str) -> object:
    """Give the SDK's own run object of a tracker of the current run, or None."""
    return current_run().native_run(name)


@contextmanager
def activated(tracked: TrackedRun) -> Iterator[ActiveRun]:
    """Make a run the current one, for portable and native calls, in the calling thread."""
    run = ActiveRun(tracked)
    try:
        try:
            run.outer = _innermost()
            active_runs.append(run)
            _name_for_children()
            _current.set(run)
            with tracked.activated():
                try:
                    cover(run, tracked.console, _innermost, active_runs)
                    with followed(tracked.console, has_own_files=tracked.has_own_files):
                        yield run
                finally:
                    uncover(run)  # what SDKs print as they end is not the step's
        finally:
            deactivate(run)
    finally:
        deactivate(run)  # again: what a signal's handler raised may have cut that short


@contextmanager
def streams_covered(tracked: TrackedRun) -> Iterator[None]:
    """Leave streams covered between runs that follow one another: to cover them takes long.

    Args:
        tracked: A run that prints nothing itself, and has a console where they have one.
    """
    user = object()
    try:
        cover(user, tracked.console, _innermost, active_runs)
        yield
    finally:
        uncover(user)


def activate(run: ActiveRun) -> None:
    """Let what stands in for a run be current, until it is deactivated.

    Args:
        run: What stands in.
    """
    run.is_left = False
    run.outer = _innermost()
    active_runs.append(run)
    _current.set(run)


def deactivate(run: ActiveRun) -> None:
    """Let a run be current no more; a second time that changes nothing."""
    if run.is_left:
        return
    uncover(run)
    if run in active_runs:
        active_runs.remove(run)
    for other in [*active_runs]:
        if other.outer is run:  # a generator goes on that was entered inside
            other.outer = run.outer
    _name_for_children()
    _current.set(_innermost())
    run.is_left = True  # last: what a signal's handler cuts short is done again


def _name_for_children() -> None:
    """Name the innermost run in the environment, unless runs of several threads overlap."""
    active = [run for run in active_runs if not run.is_muted]
    if not active:
        NAMED.restore()
    elif len({run.thread for run in active}) == 1:
        NAMED.set(active[-1].id, active[-1].folder)
    else:
        NAMED.hide()


def redactor_of(trackers: list[Tracker]) -> Redactor:
    """Make a redactor that knows the secrets of these trackers."""
    return Redactor.joined(tracker.redactor for tracker in trackers)


def log_metric(key: str, value: Any, step: Any = None) -> None:
    """Log one number; see `ActiveRun.log_metric`.

    Args:
        key: Its name; slashes make groups, as in `train/loss`.
        value: A number, or a scalar of numpy, torch or jax. NaN and infinities are kept.
        step: The training step that it belongs to.
    """
    try:
        run = _current.get()  # as `current_run` does: one call less in a training loop
        if run is None or run not in active_runs:
            run = current_run()
        run.log_metric(key, value, step)
    except (RecursionError, MemoryError):  # see `contained`, which would cost this call more
        if active_runs:
            active_runs[-1]._tracked.journal.dropped += 1  # noqa: SLF001 - likewise


@contained(active_runs)
def log_metrics(metrics: Mapping[str, Any], step: Any = None) -> None:
    """Log several numbers of the same step; see `ActiveRun.log_metrics`.

    Args:
        metrics: Numbers by name.
        step: The training step that they belong to.
    """
    current_run().log_metrics(metrics, step)


@contained(active_runs)
def log_param(key: str, value: Any) -> None:
    """Log one input; see `ActiveRun.log_param`.

    Args:
        key: Its name.
        value: A number, a bool, None or a text; anything else is kept as its text.
    """
    current_run().log_param(key, value)


@contained(active_runs)
def log_params(params: Any) -> None:
    """Log several inputs; see `ActiveRun.log_params`."""
    current_run().log_params(params)


@contained(active_runs)
def set_tag(key: str, value: Any) -> None:
    """Set one label; see `ActiveRun.set_tag`.

    Args:
        key: Its name.
        value: Its text; the last one counts.
    """
    current_run().set_tag(key, value)


@contained(active_runs)
def set_tags(tags: Mapping[str, Any]) -> None:
    """Set several labels; see `ActiveRun.set_tags`."""
    current_run().set_tags(tags)
