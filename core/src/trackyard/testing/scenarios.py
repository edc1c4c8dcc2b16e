"""What does a user's program do in which something ends badly?

    python -m trackyard.testing.scenarios SCENARIO

It runs in a project whose tracker is under test.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from trackyard.contract.records import Artifact, Batch, Metric, Param, Run, Tag
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.project.configuration import find_project, in_project
from trackyard.project.trackers import Trackers
from trackyard.testing.workbench import TRACKER
from trackyard.tracking.blocks import start_run
from trackyard.tracking.calls import ActiveRun

STILL_ALIVE = 70
# Seconds that the interpreter may take to end when the program has; counted in short naps, which a
# busy machine stretches.
_ENDS_WITHIN, _NAP = 4.0, 0.1


def main() -> None:
    """Run the scenario that is named."""
    if sys.argv[1] == "acknowledged":
        _acknowledged(*sys.argv[2:])
        return
    with start_run("scenario", "conformance", experiment_tracker=TRACKER) as run:
        SCENARIOS[sys.argv[1]](run)
    threading.Thread(target=_see_the_end, daemon=True).start()


def _see_the_end() -> None:
    """End the process where the interpreter does not, and say what holds it up."""
    for _ in range(round(_ENDS_WITHIN / _NAP)):
        time.sleep(_NAP)
    main_thread = threading.main_thread()
    frame = sys._current_frames().get(main_thread.ident or 0)  # noqa: SLF001 - the documented way
    line = traceback.extract_stack(frame)[-1] if frame is not None else None
    names = [t.name for t in threading.enumerate() if not t.daemon and t is not main_thread]
    held = f"{', '.join(names)} keep it alive" if names else "something is called at the exit"
    where = f", in {line.name} at {line.filename}:{line.lineno}" if line is not None else ""
    text = f"the program has ended, and {_ENDS_WITHIN:g} s later its interpreter has not: {held}"
    os.write(2, f"{text}{where}\n".encode())
    os._exit(STILL_ALIVE)


def _log(run: ActiveRun) -> None:
    for step in range(20):
        run.log_metric("loss", 1 / (step + 1), step=step)
    run.log_param("rate", 0.1)


def _killed(run: ActiveRun) -> None:
    """Kill this process in the statement after a log call, when others were delivered."""
    _log(run)
    time.sleep(0.5)
    run.log_metric("last", 1, step=0)
    os.kill(os.getpid(), signal.SIGKILL)


def _forks(run: ActiveRun) -> None:
    """Log in a forked child as well, which ends without tidying up."""
    run.log_metric("parent", 1, step=0)
    child = os.fork()
    if child == 0:
        run.log_metric("child", 2, step=0)
        os._exit(0)
    os.waitpid(child, 0)
    run.log_metric("parent", 3, step=1)


def _acknowledged(run_id: str, folder: str) -> None:
    """Send one batch to the hooks themselves, say so, and wait to be killed."""
    project = find_project(Path.cwd())
    hooks = TrackerHooks.of(Trackers(project).select(TRACKER)[0])
    run = Run(run_id, "check", "conformance", 10**18, Path(folder))
    file = Path(folder) / "a.txt"
    file.write_text("the report", encoding="utf-8")
    records = (
        Metric("loss", 0.5, 1, 10**18),
        Param("rate", 0.1),
        Tag("stage", "dev"),
        Artifact("a.txt", file, "file", timestamp=10**18),
    )
    with in_project(project):
        for outcome in (hooks.start_run(run), hooks.log(run, Batch.of(records, 1, len(records)))):
            if outcome.kind != "done":
                sys.exit(outcome.reason)
        sys.stdout.write("logged\n")
        sys.stdout.flush()
        sys.stdin.read()


SCENARIOS: dict[str, Callable[[ActiveRun], None]] = {
    "log": _log,
    "killed": _killed,
    "forks": _forks,
}


if __name__ == "__main__":
    main()
