"""How do W&B's own calls find the run that they land in?"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial, wraps
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any

from trackyard.contract import (
    RetryLater,
    after_import,
    own_copy,
    process_values,
    standing_in,
    step_of_caller,
)
from trackyard_wandb.native_calls import native_folder

if TYPE_CHECKING:
    from trackyard_wandb.native_runs import Step

logger = logging.getLogger("trackyard")

# What W&B has at its top for the current run. A step's code may use it without `wandb.init`.
_CALLS = (
    *("log", "save", "watch", "unwatch", "define_metric", "alert", "mark_preempting"),
    *("log_artifact", "use_artifact", "log_model", "use_model", "link_model"),
)
_OBJECTS = ("config", "summary")

_steps: list[Step] = []


class NativeRun:
    """What `native_run` gives of a run in W&B: the SDK's run, begun when it is first used."""

    def __init__(self, step: Step) -> None:
        vars(self)["_step"] = step

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(vars(self)["_step"].native(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field of the SDK's run, such as its `name`."""
        setattr(vars(self)["_step"].native(), name, value)


@contextmanager
def active_run(step: Step) -> Iterator[NativeRun]:
    """Let W&B's own calls land in a run inside a block, when the step imports W&B.

    Args:
        step: The run.
    """
    activation = _Activation(step)
    try:
        if "wandb" in sys.modules:
            activation.enter()
            yield NativeRun(step)
        else:
            with after_import("wandb", activation.enter):
                yield NativeRun(step)
    finally:
        activation.leave()


class _Activation:
    """A block's hold on W&B. Another thread may import W&B, also when the block ends."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._held = ExitStack()
        self._is_over = False
        self._lock = Lock()

    def enter(self) -> None:
        """Have W&B's calls find the run, unless the block is over."""
        with self._lock:
            if not self._is_over:
                _enter(self._held, self._step)

    def leave(self) -> None:
        """End what the step's code has left open."""
        with self._lock:
            self._is_over = True
            self._held.close()


def _enter(held: ExitStack, step: Step) -> None:
    import wandb
    from wandb.sdk import wandb_init

    if wandb.run is not None or _steps:
        logger.warning(
            "W&B's own calls go to a run that overlaps %r; use native_run() for this one",
            step.run.name,
        )
    _steps.append(step)
    held.callback(_steps.remove, step)
    _look_at_forks()
    init, login = _init_of(wandb_init.init), _login_of(wandb.login)
    step.sdk_init = init.__wrapped__
    attributes = [*standing_in(wandb_init.init, init), *standing_in(wandb.login, login)]
    held.enter_context(process_values({}, attributes, patience=1.0))
    if wandb.run is None:
        ways = [(wandb, name, _beginning(name)) for name in _CALLS if hasattr(wandb, name)]
        held.enter_context(process_values({}, ways + [(wandb, n, _object(n)) for n in _OBJECTS]))
    if "WANDB_DATA_DIR" not in os.environ:  # where files of artifacts wait for their upload
        data = str(native_folder(step.run.folder) / "data")
        with suppress(RetryLater):  # a run that overlaps this one keeps them
            held.enter_context(process_values({"WANDB_DATA_DIR": data}))
    held.callback(step.leave)


@cache
def _look_at_forks() -> None:
    os.register_at_fork(after_in_child=_follow_in_child)


def _follow_in_child() -> None:
    for step in _steps:
        step.follow_in_child()


def _step_here() -> Step | None:
    """Give the step whose code is running: the innermost of the thread, else the last one."""
    return step_of_caller(_steps, in_forks=True) or (_steps[-1] if _steps else None)


def _step_of_calls() -> Step | None:
    """Give the step to which calls without a run belong: the first of those that overlap."""
    thread = get_ident()
    return next((step for step in _steps if step.thread == thread), _steps[0] if _steps else None)


@cache
def _init_of(sdk_init: Any) -> Any:
    """Give what stands for `wandb.init` while a run is active: no login, network or prompt."""
    original = own_copy(sdk_init)

    @wraps(original)
    def init(*arguments: Any, **keywords: Any) -> Any:
        step = _step_here()
        if step is None:
            return original(*arguments, **keywords)
        return step.init(inspect.signature(original).bind(*arguments, **keywords).arguments)

    return init


@cache
def _login_of(sdk_login: Any) -> Any:
    """Give what stands for `wandb.login`, likewise."""
    original = own_copy(sdk_login)

    @wraps(original)
    def login(*arguments: Any, **keywords: Any) -> Any:
        step = _step_here()
        return (partial(step.login, original) if step else original)(*arguments, **keywords)

    return login


@cache
def _beginning(name: str) -> Callable[..., Any]:
    """Give what stands for a function of W&B's until there is a run: it begins the step's."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        return getattr(_begun(), name)(*arguments, **keywords)

    call.__name__ = name
    return call


@cache
def _object(name: str) -> _Beginning:
    return _Beginning(name)


class _Beginning:
    """Stands for an object of W&B's until there is a run, such as `wandb.config`."""

    def __init__(self, name: str) -> None:
        vars(self)["_name"] = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._own(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an entry, as in `wandb.config.rate = 0.1`."""
        setattr(self._own(), name, value)

    def __getitem__(self, key: str) -> Any:
        """Give an entry."""
        return self._own()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Set an entry."""
        self._own()[key] = value

    def __contains__(self, key: str) -> bool:
        """Tell whether there is an entry."""
        return key in self._own()

    def _own(self) -> Any:
        return getattr(_begun(), vars(self)["_name"])


def _begun() -> Any:
    step = _step_of_calls()
    if step is None:
        import wandb

        raise wandb.Error("You must call wandb.init() before")
    return step.native()
