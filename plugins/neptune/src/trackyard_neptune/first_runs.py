"""Which run do Neptune's own calls get in a step?

`neptune.init_run` is the class `neptune.Run`. While runs are active its `__init__` is wrapped: the
first run that a step's code makes is the step's own, with the arguments of that call, and later
ones are child runs, also two at once. This file is imported after Neptune only.
"""

from __future__ import annotations

import atexit
import inspect
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

import attrs
from neptune import Run as NeptuneRun

from trackyard.contract import Capture, Run, process_values, step_of_caller
from trackyard_neptune.folder import load_state, native_folder
from trackyard_neptune.quieting import quiet
from trackyard_neptune.settings import project_of

logger = logging.getLogger("trackyard")

# Modes in which the SDK's run logs nothing that is kept.
_NOTHING = ("read-only", "debug")
_PLACES = ("project", "api_token", "mode", "custom_run_id", "with_id", "proxies")


@attrs.define(eq=False)
class Step:
    """A run that is active, as Neptune's calls meet it.

    Attributes:
        run: The run.
        project: Where it is, as the tracker says.
        capture: Makes child runs, or None.
        thread, process: Those of the step.
        own: Neptune's run of it, once there is one.
        is_taken: The code has made a run, and got this one.
        made: All that the code has made, to be ended.
        said: The arguments that do not count, of which a line has told.
    """

    run: Run
    project: str | None
    capture: Capture | None
    thread: int = attrs.field(factory=threading.get_ident)
    process: int = attrs.field(factory=os.getpid)
    own: Any = None
    is_taken: bool = False
    made: list[Any] = attrs.field(factory=list)
    said: set[str] = attrs.field(factory=set)
    lock: Any = attrs.field(factory=threading.RLock)

    def own_run(self, switches: Mapping[str, Any]) -> Any:
        """Give Neptune's run for who has not made one, which collects nothing by itself.

        Args:
            switches: Options that switch off what the SDK does.
        """
        with self.lock:
            if self.own is None:
                self.own = NeptuneRun.__new__(NeptuneRun)
                self.begin(self.own, self.run.folder, switches)
            return self.own

    def begin(self, made: Any, folder: Path, options: Mapping[str, Any]) -> None:
        """Begin a run of Neptune's in a folder, whatever place its options name.

        Args:
            made: The SDK's object.
            folder: The tracker's folder of the run.
            options: As the SDK has them.
        """
        place = native_folder(folder)
        place.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in options.items() if name not in _PLACES}
        hook = sys.excepthook
        # Only its beginning looks at the variables.
        environment = {"NEPTUNE_DATA_DIRECTORY": str(place), "NEPTUNE_CUSTOM_RUN_ID": None}
        with process_values(environment, patience=1.0), quiet():
            _init(made, project="native/native", mode="offline", **kept)
        sys.excepthook = hook
        processor = made._op_processor  # noqa: SLF001
        processor.enqueue_operation = partial(_flushed, processor, processor.enqueue_operation)
        made.get_url = partial(_url, folder, made.get_url)
        self.made.append(made)


_steps: list[Step] = []
_init = NeptuneRun.__init__
_parameters = inspect.signature(_init)


@contextmanager
def active(step: Step) -> Iterator[None]:
    """Have the runs that Neptune's own calls make be those of a step inside a block.

    Args:
        step: The step.
    """
    with ExitStack() as held:
        held.enter_context(process_values({}, [(NeptuneRun, "__init__", begin_in_step)]))
        held.callback(_leave, step)
        _steps.append(step)
        yield


@wraps(_init)
def begin_in_step(self: Any, *arguments: Any, **keywords: Any) -> None:
    """Begin a run as Neptune does, for a step where one is active.

    Args:
        self: The SDK's object.
        *arguments: As the SDK has them.
        **keywords: Likewise.
    """
    step = step_of_caller(_steps)
    options = dict(_parameters.bind(self, *arguments, **keywords).arguments)
    options.pop("self")
    options |= options.pop("kwargs", {})
    mode = options.get("mode") or os.environ.get("NEPTUNE_MODE")
    if step is None or mode in _NOTHING:
        _init(self, *arguments, **keywords)
        return
    with step.lock:
        is_first, step.is_taken = not step.is_taken, True
        _say_what_does_not_count(step, options)
        if is_first and step.own is not None:  # somebody has called `native_run` before
            self.__dict__ = step.own.__dict__
            _name(self, options)
        elif is_first:
            step.own = self
            step.begin(self, step.run.folder, options)
        elif not _begin_child(step, self, options):
            _init(self, *arguments, **keywords)


def _begin_child(step: Step, made: Any, options: Mapping[str, Any]) -> bool:
    folders: list[Path] = []
    name = options.get("name") or f"{step.run.name}-{len(step.made) + 1}"
    child = step.capture and step.capture.start_run(name, folders.append)
    if not child:
        return False
    (folder,) = folders
    step.begin(made, folder, options)
    stop = made.stop

    def stop_child(*, seconds: float | None = None) -> None:
        stop(seconds=seconds)
        child.end_run()

    made.stop = stop_child
    return True


def _name(made: Any, options: Mapping[str, Any]) -> None:
    """Say what a call has named of a run that has begun already."""
    for field in ("name", "description"):
        if options.get(field) is not None:
            made[f"sys/{field}"] = options[field]
    tags = options.get("tags") or ()
    if tags:
        made["sys/tags"].add([tags] if isinstance(tags, str) else list(tags))


def _say_what_does_not_count(step: Step, options: Mapping[str, Any]) -> None:
    """Say once which arguments of a call name another place than the run's."""
    project = options.get("project")
    given = {
        "project": project is not None and project != project_of(step.project),
        "with_id": options.get("with_id") is not None,
        "custom_run_id": options.get("custom_run_id") is not None,
    }
    astray = [name for name, is_astray in given.items() if is_astray and name not in step.said]
    step.said.update(astray)
    if astray:
        logger.warning(
            "Neptune's own calls say %s: the run is a new one of Trackyard's; set `project` in the "
            "tracker's table to have it elsewhere",
            ", ".join(f"{name}={options[name]!r}" for name in astray),
        )


def _leave(step: Step) -> None:
    """End what the step's code has left open."""
    _steps.remove(step)
    with quiet():
        for made in step.made:
            made.stop()
            atexit.unregister(made._shutdown_hook)  # noqa: SLF001


def _flushed(processor: Any, enqueue: Any, operation: Any, *, wait: bool) -> None:
    """Write an operation before the call returns: offline, the SDK itself never flushes.

    Only the log of operations is: the SDK's own flush writes all about the run anew each time.
    """
    enqueue(operation, wait=wait)
    queue = getattr(processor, "_queue", None)
    log = getattr(queue, "_writer", processor)  # another one where the log has grown large
    log.flush()


def _url(folder: Path, known: Any) -> str:
    return str(load_state(folder).get("url") or known())
