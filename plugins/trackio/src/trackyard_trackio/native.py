"""How do Trackio's own calls land in a run?

They get a run of Trackio's with the same id, which writes into the folder on this machine, whether
or not there is a server: nothing that the step calls waits for the network.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from threading import get_ident
from typing import Any

import attrs

from trackyard.contract import (
    Capture,
    RetryLater,
    after_import,
    own_copy,
    process_values,
    standing_in,
    step_of_caller,
    write_whole,
)
from trackyard_trackio.rows import TAGS, shown_name
from trackyard_trackio.storing import Place, in_folder

logger = logging.getLogger("trackyard")

_CONFIG = "native-config.json"


def native_config(folder: Path) -> dict[str, Any]:
    """Give the config that Trackio's own calls have set, from the run's folder."""
    try:
        return dict(json.loads((folder / _CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


@attrs.define(eq=False)
class Step:
    """A run that is active, as Trackio's calls meet it.

    Attributes:
        place: Where the run is in Trackio.
        folder: The tracker's folder of the run.
        capture: Makes child runs, or None.
        thread, process: Those of the step.
        is_taken: The code has begun a run, and got this one.
        runs: Trackio's runs of it, the step's own first.
        named: The latest of them by the names that calls gave.
        said: The arguments that do not count, of which a line has told.
    """

    place: Place
    folder: Path
    capture: Capture | None
    thread: int = attrs.field(factory=get_ident)
    process: int = attrs.field(factory=os.getpid)
    is_taken: bool = False
    runs: list[Any] = attrs.field(factory=list)
    named: dict[str, Any] = attrs.field(factory=dict)
    said: set[str] = attrs.field(factory=set)


_steps: list[Step] = []


@contextmanager
def active_run(step: Step, store: Path) -> Iterator[object]:
    """Make a run Trackio's current one inside a block, when the step imports Trackio.

    Args:
        step: The run.
        store: Trackio's folder.
    """
    with ExitStack() as held:
        enter = partial(_enter, held, step, store)
        if "trackio" in sys.modules:
            yield enter()
        else:
            held.enter_context(after_import("trackio", enter))
            yield None


def _enter(held: ExitStack, step: Step, store: Path) -> object:
    import trackio
    from trackio.context_vars import current_project, current_run

    try:
        held.enter_context(in_folder(store))
    except RetryLater:
        logger.warning("Trackio's own calls go astray: an overlapping run has another folder")
        return None
    run = _run_class()(step.place, step.folder)
    step.runs.append(run)
    _steps.append(step)
    held.callback(_leave, step, current_run.get(), current_project.get())
    current_run.set(run)
    current_project.set(step.place.project)
    _sdk_init()
    held.enter_context(process_values({}, standing_in(trackio.init, _init)))
    with suppress(RetryLater):  # of overlapping runs the first has `trackio.config`
        held.enter_context(process_values({}, [(trackio, "config", run.config)]))
    return run


@cache
def _sdk_init() -> Any:
    """Give `trackio.init` itself; first called before anything stands in for it."""
    import trackio

    return own_copy(trackio.init)


def _init(*arguments: Any, **keywords: Any) -> Any:
    """Stand for `trackio.init` in a step: the first run is the step's, later ones are its children.

    Args:
        *arguments: As Trackio has them.
        **keywords: Likewise.
    """
    from trackio.context_vars import current_run

    original = _sdk_init()
    step = step_of_caller(_steps)
    if step is None:
        return original(*arguments, **keywords)
    given = inspect.signature(original).bind(*arguments, **keywords).arguments
    said = {key: value for key, value in given.items() if value is not None}
    config, name, group = said.pop("config", {}), said.pop("name", None), said.pop("group", None)
    goes_on = step.named.get(name) if said.get("resume", "never") != "never" else None
    if goes_on is not None:
        del said["resume"]
        _say_what_is_lost(step, goes_on)
    _say_what_does_not_count(step, said)
    run, asked = step.runs[0], {"trackio.name": name, "trackio.group": group}
    if step.is_taken:
        before = current_run.get()
        if before is not None:
            before.finish()
        run = goes_on or _child(step, name or f"{step.place.run}-{len(step.runs) + 1}")
        if run is None:
            return original(*arguments, **keywords)
        current_run.set(run)
        if run is not step.runs[0]:
            del asked["trackio.name"]  # it is the child run's own
    step.is_taken = True
    if name:
        step.named[name] = run
    run.config.update(config)
    run.tags.update({key: str(text) for key, text in asked.items() if text is not None})
    run.keep_config()
    return run


def _child(step: Step, name: str) -> Any:
    """Begin a run of Trackio's that is a child run; None where it cannot be one."""
    folders: list[Path] = []
    child = step.capture and step.capture.start_run(name, folders.append)
    if not child:
        return None
    (folder,) = folders
    place = Place(step.place.project, shown_name(name), folder.parent.name)
    run = _run_class()(place, folder, child)
    step.runs.append(run)
    return run


def _say_what_is_lost(step: Step, run: Any) -> None:
    """Say that a child run has ended, though Trackio's run goes on."""
    if run is not step.runs[0]:
        logger.warning(
            "trackio.init goes on with run %r, which has ended in Trackyard: "
            "what it logs from here on stays in Trackio",
            run.name,
        )


def _say_what_does_not_count(step: Step, given: dict[str, Any]) -> None:
    """Say once which arguments of a call do not count."""
    if given["project"] == step.place.project:
        del given["project"]
    astray = [key for key in given if key not in step.said]
    step.said.update(astray)
    if astray:
        logger.warning(
            "trackio.init says %s: the run is %r in project %r of the tracker's table",
            ", ".join(f"{key}={given[key]!r}" for key in astray),
            *(step.place.run, step.place.project),
        )


def _leave(step: Step, run: Any, project: Any) -> None:
    from trackio.context_vars import current_project, current_run

    _steps.remove(step)
    if current_run.get() in (*step.runs, None):
        current_run.set(run)
        current_project.set(project)
    for one in step.runs:
        one.keep_config()
        one.close()


def _run_class() -> Callable[..., Any]:
    from trackio.run import Run
    from trackio.utils import to_json_safe

    class StepRun(Run):  # type: ignore[misc]  # it is Any here
        """Trackio's run, which begins and ends with the step's."""

        def __init__(self, place: Place, folder: Path, child: Capture | None = None) -> None:
            begin: dict[str, Any] = {"url": None, "client": None, "existing_runs": []}
            named = {"project": place.project, "name": place.run, "run_id": place.run_id}
            super().__init__(**named, **begin, initial_last_step=-1)
            self._file = folder / _CONFIG
            self._child = child
            self._config_logged = True  # it would replace the config that Trackyard writes
            self._storage_mode = "sqlite"
            self.config: dict[str, Any] = {}
            self.tags: dict[str, str] = {}

        def _get_username(self) -> None:
            """Ask no one on the network."""

        def keep_config(self) -> None:
            """Write down the config, whole or not at all, for the tracker to send."""
            kept = dict(self.config)
            if self.tags and isinstance(kept.get(TAGS, {}), dict):
                kept[TAGS] = {**kept.get(TAGS, {}), **self.tags}
            if kept:
                write_whole(self._file, json.dumps(to_json_safe(kept)))

        def finish(self) -> None:
            """Write what is left; a child run ends with it, the step's run with the step."""
            with self._client_lock:
                self._flush_queues_inline()
            if self._child is not None:
                self.keep_config()
                self._child.end_run()

        def close(self) -> None:
            """End the thread that writes."""
            self._stop_flag.set()
            if sender := vars(self)["_local_sender_thread"]:
                sender.join(30)
            self.finish()

    return StepRun
