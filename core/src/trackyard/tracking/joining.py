"""How do native calls of a command land in its run, which knows nothing of Trackyard?

A Python that has Trackyard joins the run when it starts, by a `sitecustomize` on its path: then all
is as in a step. For any other the variables have to do that SDKs themselves look at.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import Run
from trackyard.hooks.discovery import load_plugins
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import load_description, run_for
from trackyard.project.configuration import find_project
from trackyard.project.sources import select_sources
from trackyard.project.trackers import Trackers
from trackyard.recovery.trusting import tracker_for
from trackyard.system.environment import inherited_run_id
from trackyard.system.ranks import process_rank
from trackyard.tracking.attaching import AttachedRun, attach
from trackyard.tracking.capturing import Activated
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.tracked_runs import TrackedRun

logger = logging.getLogger("trackyard")

_VARIABLES = "TRACKYARD_COMMAND_VARIABLES"
_FOLDER = "python"
# It goes on with the `sitecustomize` that it hides, and never stands in the program's way.
_CODE = '''"""Lets native calls of this program land in the run of `trackyard exec`."""


def _join():
    import os
    import sys

    if "TRACKYARD_RUN_ID" not in os.environ or "multiprocessing" in " ".join(sys.orig_argv):
        return
    try:
        from trackyard.tracking.joining import join
    except ImportError:  # this Python has no Trackyard, or another one
        return
    join()


def _go_on():
    import sys
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    own = __file__.rpartition("/")[0]
    sys.path[:] = [path for path in sys.path if path != own]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


_go_on()
try:
    _join()
except Exception as error:
    import logging

    logging.getLogger("trackyard").warning("native calls do not land in the run: %s", error)
'''


@attrs.frozen
class Joined:
    """What is activated in a process of a command: a tracker's hooks, and the run as it gets it."""

    hooks: TrackerHooks
    run: Run
    url: str | None = None


def variables_for(tracked: TrackedRun) -> Mapping[str, str]:
    """Give the variables by which a command's native calls land in its run.

    Args:
        tracked: The run, which has started.
    """
    if not tracked.deliveries and not tracked.sources:
        return {}
    found: dict[str, str] = {}
    carried: list[Activated] = [*tracked.sources.values(), *tracked.deliveries.values()]
    for one in carried:
        found |= one.hooks.command_variables(one.run)
    folder = tracked.folder / _FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(_CODE, encoding="utf-8")
    except OSError as error:  # a full disk must not stop the command
        logger.debug("%s cannot be written: %s", folder, error)
        return found
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    before = {name: os.environ.get(name) for name in found}
    return {**found, _VARIABLES: json.dumps(before), "PYTHONPATH": path}


def join() -> None:
    """Let native calls in this process land in the run that the environment names.

    Raises:
        TrackyardError: There is no such run any more.
    """
    run_id = inherited_run_id()
    if run_id is None or process_rank() > 0:
        return
    # They say for others what is said here by the activation: the caller's own are back.
    for name, before in json.loads(os.environ.pop(_VARIABLES, "{}")).items():
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before
    joined = _joined(run_id)
    stack = ExitStack()
    stack.enter_context(joined.activated())
    process = os.getpid()

    def leave() -> None:
        if os.getpid() == process:
            stack.close()
            if joined.group is not None:
                joined.group.close()

    atexit.register(leave)


def _joined(run_id: str) -> AttachedRun:
    """Open the run with what its native calls need here.

    Raises:
        TrackyardError: There is no such run any more.
    """
    project, plugins = find_project(), load_plugins()[0]
    joined = attach(run_id)
    joined.is_joined = True
    joined.group = RunGroup(project, joined.redactor)
    description, trackers = load_description(joined.folder), Trackers(project)
    if description is None:
        return joined
    for known in description.trackers:
        try:
            tracker = tracker_for(description, known, project, trackers)
        except TrackyardError:  # it is not configured where the command runs
            continue
        if tracker.capabilities.shared_runs:
            run = attrs.evolve(run_for(description, known, joined.folder), attached=False)
            joined.carry(known.name, Joined(TrackerHooks.of(tracker, plugins), run), tracker)
    for source in description.sources:
        chosen = select_sources(trackers, source.source)
        joined.join_sources(one for one in chosen if one.files is None)
    return joined
