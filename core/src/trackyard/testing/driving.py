"""What does a user's script do whose steps an orchestrator runs?

    python -m trackyard.testing.driving SCENARIO FILE

It runs in a project whose stack has the orchestrator under test, and writes what it saw to FILE.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from trackyard import Client, pipeline, step
from trackyard.contract.process_state import process_values
from trackyard.project.configuration import find_project
from trackyard.project.trackers import Trackers
from trackyard.testing import driven_steps as steps

LINES = "lines"
MANY = 24


def main() -> None:
    """Run the scenario that is named, and write what came of it."""
    # It is ignored where a shell runs the suite in the background, and a child has that from it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    (scenario, file), root = sys.argv[1:3], Path.cwd()
    before, began = processes_below(os.getpid()), time.time()
    seen: dict[str, Any] = {"value": None, "error": None}
    try:
        seen["value"] = SCENARIOS[scenario.partition(":")[0]](*scenario.split(":")[1:])
    except BaseException as error:
        seen["error"] = _described(error)
    seen["seconds"] = time.time() - _began(began)
    seen["left"] = _left_after(before)
    seen["runs"] = [
        {
            "status": run.status,
            "steps": {name: found.status for name, found in run.steps.items()},
            "errors": {name: found.error for name, found in run.steps.items()},
        }
        for run in Client().list_pipeline_runs()
    ]
    (root / file).write_text(json.dumps(seen), encoding="utf-8")


def _began(at_latest: float) -> float:
    """Tell when the step began whose time is taken; a cluster may take longer to start."""
    times = [float(line.split()[1]) for line in steps.noted(LINES) if line.startswith("at ")]
    return max([at_latest, *times])


# Python starts it once where a process is spawned, and ends it with the driver.
_PYTHONS_OWN = "multiprocessing.resource_tracker"
_LONGEST_NAME = 120


def processes_below(process: int) -> dict[int, str]:
    """Give the processes that a process has started, and those that they have, with their commands.

    Those of a session that it leads count also where the one that started them has ended.
    """
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,sess=,stat=,args="]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listing:
        rows = [line.split(None, 4) for line in listing.communicate()[0].splitlines()]
    ids = {int(row[0]): (int(row[1]), int(row[2])) for row in rows}
    below = {pid for pid, (_, session) in ids.items() if session == process}
    above = {process, *below}
    while above:
        above = {pid for pid, (parent, _) in ids.items() if parent in above} - below
        below |= above
    below -= {process, listing.pid}
    found = {int(row[0]): _shown(row[4], row[3]) for row in rows if int(row[0]) in below}
    return {pid: name for pid, name in found.items() if _PYTHONS_OWN not in name}


def _shown(command: str, state: str) -> str:
    """Name a process by what was typed to start it, which a zombie has forgotten."""
    if state.startswith("Z"):
        return f"{command.split(maxsplit=1)[0]}, which has ended and was not waited for"
    return f"`{command}`" if len(command) < _LONGEST_NAME else f"`{command[:_LONGEST_NAME]}...`"


def _left_after(before: dict[int, str], seconds: float = 10.0) -> list[str]:
    """Name the processes that are still there after a while, and were not before."""
    end = time.monotonic() + seconds
    while True:
        left = [name for pid, name in processes_below(os.getpid()).items() if pid not in before]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.1)


def _described(error: BaseException) -> dict[str, Any]:
    return {
        "kind": type(error).__name__,
        "arguments": repr(error.args),
        "code": getattr(error, "code", None),
        "text": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def _lines() -> str:
    """Give the file that steps add lines to, wherever they begin."""
    return str(Path(LINES).absolute())


def _outputs() -> dict[str, bool]:
    @pipeline
    def passing() -> None:
        for name in steps.VALUES:
            steps.compare(steps.give(name), name)

    run = passing()
    numbers = ["", *(f"_{number}" for number in range(2, len(steps.VALUES) + 1))]
    return {
        name: run.steps[f"compare{number}"].outputs["output"].load()
        and repr(run.steps[f"give{number}"].outputs["output"].load()) == repr(value)
        for number, (name, value) in zip(numbers, steps.VALUES.items(), strict=True)
    }


def _once() -> list[str]:
    pipeline(steps.tell)(_lines(), "it")
    return steps.noted(_lines())


def _order() -> list[str]:
    @pipeline
    def chain() -> None:
        first = steps.tell(_lines(), "first", None, 0.3)
        second = steps.tell(_lines(), "second", first, 0.3)
        steps.tell(_lines(), "third", [first, second])

    chain()
    return steps.noted(_lines())


def _many() -> dict[str, Any]:
    @pipeline
    def mapped() -> None:
        steps.total(steps.double.map(range(MANY), file=_lines()))

    run = mapped()
    running = most = 0
    for line in steps.noted(_lines()):
        running += 1 if line.startswith("begins") else -1
        most = max(most, running)
    numbers = run.steps["total"].outputs["output"].load()
    return {"numbers": numbers, "most": most, "lines": len(steps.noted(_lines()))}


def _meet() -> list[bool]:
    @pipeline
    def meeting() -> None:
        steps.meet(_lines())
        steps.meet(_lines())

    run = meeting()
    return [found.outputs["output"].load() for found in run.steps.values()]


def _metrics() -> dict[str, float]:
    return dict(pipeline(steps.measure)().steps["measure"].metrics)


def _raises(name: str) -> None:
    pipeline(steps.fail)(name)


def _stubborn() -> None:
    pipeline(steps.fail_stubbornly)()


def _lock_out() -> None:
    pipeline(steps.give_a_lock)()


def _lock_in() -> None:
    pipeline(steps.take_a_lock)(threading.Lock())


def _sleeps() -> None:
    pipeline(steps.sleep_on)(_lines())


def _deaf() -> None:
    pipeline(steps.never_listen)(_lines())


def _dies(way: str) -> None:
    @pipeline
    def deadly() -> None:
        steps.die(way)
        steps.total(steps.double.map(range(3), file=_lines()))

    deadly()


def _dies_once() -> None:
    pipeline(steps.die_and_note)(_lines())


def _child() -> float:
    """Give the seconds from the end of a step that has left a child behind to that of the run."""
    try:
        pipeline(steps.leave_a_child)(_lines())
        return time.time() - float(steps.noted(LINES)[0].split()[2])
    finally:
        for line in steps.noted(LINES):
            with suppress(ProcessLookupError):  # a cluster that has ended takes it along
                os.kill(int(line.split()[1]), signal.SIGKILL)


def _roams() -> list[dict[str, Any]]:
    @pipeline
    def roaming() -> None:
        seen = steps.roam(None)
        for _ in range(3):
            seen = steps.roam(seen)

    found = roaming().steps.values()
    return [step_run.outputs["output"].load() for step_run in found]


def _surroundings() -> dict[str, Any]:
    """Give what is not as in this script where a step begins, with what it is there."""
    os.environ["VALUE_OF_THE_USER"] = "the user's"
    here = {"working directory": str(Path.cwd()), "VALUE_OF_THE_USER": "the user's"}

    @pipeline
    def looking() -> None:
        steps.roam(None)
        steps.look_for("VALUE_OF_THE_USER")

    roam, look_for = looking().steps.values()
    folder, value = roam.outputs["output"].load()["folder"], look_for.outputs["output"].load()
    seen = {"working directory": folder, "VALUE_OF_THE_USER": value}
    return {name: found for name, found in seen.items() if found != here[name]}


def _held() -> list[str | None]:
    """Give what steps see of variables that are held while they run: a new one, a changed one."""
    os.environ["VALUE_OF_THE_USER"] = "the user's"
    names = ("VALUE_OF_A_TRACKER", "VALUE_OF_THE_USER")

    @pipeline
    def looking() -> None:
        for name in names:
            steps.look_for(name)

    with process_values(dict.fromkeys(names, "a tracker's")):
        run = looking()
    return [found.outputs["output"].load() for found in run.steps.values()]


def _untouched() -> list[str]:
    """Name what a pipeline run has changed in the process that drives it."""

    def state() -> dict[str, Any]:
        return {
            "the working directory": str(Path.cwd()),
            "the environment": dict(os.environ),
            "sys.path": list(sys.path),
            "the answer to SIGINT": signal.getsignal(signal.SIGINT),
            "the answer to SIGTERM": signal.getsignal(signal.SIGTERM),
            "the answer to SIGCHLD": signal.getsignal(signal.SIGCHLD),
            "sys.stdout": id(sys.stdout),
        }

    before = state()
    pipeline(steps.measure)()
    return [name for name, value in state().items() if value != before[name]]


def _talks() -> int:
    return int(pipeline(steps.talk)().steps["talk"].outputs["output"].load())


def _by_value() -> int:
    factor = 3

    @step
    def closure(number: int) -> int:
        return factor * number

    return int(pipeline(closure)(5).steps["closure"].outputs["output"].load())


def _twice() -> list[str]:
    measuring = pipeline(steps.measure)
    return [measuring().status, measuring().status]


def _idle() -> list[Any]:
    remembering = pipeline(steps.remember)
    return [[s.status for s in remembering().steps.values()] for _ in range(2)]


def _made() -> list[str]:
    """Name what making an orchestrator has started."""
    threads, before = set(threading.enumerate()), processes_below(os.getpid())
    orchestrator = Trackers(find_project(Path.cwd())).orchestrator()
    after = processes_below(os.getpid())
    started = [f"process {name}" for pid, name in after.items() if pid not in before]
    started += [f"thread {new.name}" for new in {*threading.enumerate()} - threads]
    orchestrator.close()
    return started


def _stopped(kind: str, count: str) -> None:
    held = steps.hold if kind == "heeds" else steps.hold_whatever_comes

    @pipeline
    def holding() -> None:
        for number in range(int(count)):
            held(_lines(), number)

    holding()


SCENARIOS: dict[str, Callable[..., Any]] = {
    "outputs": _outputs,
    "once": _once,
    "order": _order,
    "many": _many,
    "meet": _meet,
    "metrics": _metrics,
    "raises": _raises,
    "stubborn": _stubborn,
    "lock out": _lock_out,
    "lock in": _lock_in,
    "sleeps": _sleeps,
    "deaf": _deaf,
    "dies": _dies,
    "dies once": _dies_once,
    "child": _child,
    "roams": _roams,
    "surroundings": _surroundings,
    "held": _held,
    "untouched": _untouched,
    "talks": _talks,
    "by value": _by_value,
    "twice": _twice,
    "idle": _idle,
    "made": _made,
    "stopped": _stopped,
}


if __name__ == "__main__":
    main()
