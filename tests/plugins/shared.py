"""How do all processes of a test session, such as pytest-xdist's workers, share what is dear?

The first that asks makes it, the others wait until it is there. A program ends with its last user,
however that one ends: each user holds a lock that the program's guard waits for.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def shared_folder(factory: pytest.TempPathFactory, name: str = "") -> Path:
    """Give a folder that is the same in all workers of this session."""
    base = factory.getbasetemp()
    above = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = above / "shared" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock of a file."""
    with path.open("w") as file:
        fcntl.flock(file, how)
        yield


def made_once(path: Path, make: Callable[[Path], None]) -> Path:
    """Give a file that the first process makes."""
    with locked(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            unfinished = path.with_name(f"{path.name}.new")
            make(unfinished)
            unfinished.rename(path)
    return path


@contextmanager
def shared_program(
    folder: Path, command: Callable[[], Sequence[str]], answers: Callable[[], bool]
) -> Iterator[None]:
    """Have a program run, which the first process starts and the last one leaves to its end.

    Args:
        folder: Where its output and its locks are; it works there.
        command: Gives what to start.
        answers: Tells whether it may be used.
    """
    running = folder / "running"
    with locked(folder / "users.lock", fcntl.LOCK_SH):
        with locked(folder / "start.lock"):
            if not running.exists():
                guarded = [sys.executable, __file__, *command()]
                with (folder / "output.log").open("wb") as log:
                    subprocess.run(
                        guarded,
                        check=True,
                        cwd=folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                end = time.monotonic() + 120
                while not answers():
                    assert time.monotonic() < end, (folder / "output.log").read_text()
                    time.sleep(0.1)
                running.touch()
        yield


def guard(command: Sequence[str]) -> None:
    """Start a program, and end it and its children when nobody uses it any more.

    It is no child of whoever started it, and goes on after that one has ended. What `elsewhere`
    points to is deleted with it.
    """
    if os.fork():
        os._exit(0)
    program = subprocess.Popen(command)
    with locked(Path("users.lock")):
        Path("running").unlink(missing_ok=True)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
        os.killpg(0, signal.SIGQUIT)  # at which a database ends at once, too
        with suppress(subprocess.TimeoutExpired):
            program.wait(10)
        shutil.rmtree(Path("elsewhere").resolve(), ignore_errors=True)
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    guard(sys.argv[1:])
