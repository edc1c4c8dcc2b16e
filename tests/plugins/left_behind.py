"""What does a run leave behind in the process, which belongs to the user?"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path


def process_state(active: object, others: Collection[threading.Thread] = ()) -> dict[str, object]:
    """Give what belongs to the process, and what the SDK holds as its active run.

    Args:
        active: What the SDK holds.
        others: Threads of earlier tests, which may end at any time.
    """
    new = [thread for thread in threading.enumerate() if thread not in others]
    return {
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "working directory": Path.cwd(),
        "hooks": (sys.excepthook, sys.exit, threading.excepthook, sys.unraisablehook),
        "output": (sys.stdout, sys.stderr),
        "signals": {each: signal.getsignal(each) for each in signal.valid_signals()},
        "threads": sorted(thread.name for thread in new if _is_new(thread)),
        "active run": active,
    }


def descriptors() -> int:
    """Count the open file descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for threads and connections that end by themselves."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, while threads and processes make files there.

    Args:
        folder: The folder.
    """
    wait_until(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists())


def assert_left_as_it_was(
    run_steps: Callable[[int], None], active: Callable[[], object], *, spare_descriptors: int = 0
) -> None:
    """Run 20 steps, and see that the process is then as it was.

    Args:
        run_steps: Runs as many steps as it is told.
        active: Gives what the SDK holds as its current run, and the like.
        spare_descriptors: How many may be added: a pool of connections grows, once.
    """
    others = set(threading.enumerate())  # such as one that a test before this one has let hang
    run_steps(2)  # the SDK's import, and what is made once, is not judged
    wait_until(lambda: not [t for t in _workers() if t not in others])
    before, count = process_state(active(), others), descriptors()
    run_steps(20)
    wait_until(
        lambda: (
            process_state(active(), others) == before and descriptors() <= count + spare_descriptors
        )
    )
    after = process_state(active(), others)
    changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    assert not changed, changed
    assert descriptors() <= count + spare_descriptors


def _workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "trackyard" in thread.name]


def _is_new(thread: threading.Thread) -> bool:
    """Tell whether a thread is none of the test's own servers."""
    return "process_request_thread" not in thread.name
