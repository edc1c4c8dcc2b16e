"""Which steps does an orchestrator run in its checks?

They stand in a module, as a user's do, and tell what happens by lines that they add to a file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from trackyard import log_metric, step

# What comes back has to be equal and of the same type.
VALUES: dict[str, Any] = {
    "nothing": None,
    "text": "Zoë 🎉\n\r\n",
    "nested": {"a": [1, -0.0, ("b", {2.5}), {}], 3: b"\0\xff"},
    "large": bytes(range(256)) * 40_000,
}


class StepProblemError(Exception):
    """An error with more than a message."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code


class StubbornError(Exception):
    """An error that cannot be moved to another process."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(f"{message}: {reason}")
        self.lock = threading.Lock()


ERRORS: dict[str, BaseException] = {
    "with arguments": ValueError("bad", 3),
    "of its own": StepProblemError("worse", 7),
    "exit": SystemExit(4),
}


def note(file: str, text: str) -> None:
    """Add a line to a file that several processes write.

    Args:
        file: The file.
        text: The line, without its end.
    """
    with Path(file).open("a", encoding="utf-8") as lines:
        lines.write(f"{text}\n")


def noted(file: str) -> list[str]:
    """Give the lines of a file."""
    return Path(file).read_text(encoding="utf-8").splitlines() if Path(file).exists() else []


def wait_for(file: str, count: int, seconds: float = 60.0) -> bool:
    """Wait until a file has some lines; tell whether it has.

    Args:
        file: The file.
        count: How many lines.
        seconds: For how long at most.
    """
    end = time.monotonic() + seconds
    while len(noted(file)) < count and time.monotonic() < end:
        time.sleep(0.02)
    return len(noted(file)) >= count


@step
def give(name: str) -> Any:
    """Give one of the values."""
    return VALUES[name]


@step
def compare(value: Any, name: str) -> bool:
    """Tell whether a value is the one that was given.

    Args:
        value: What came.
        name: A key of `VALUES`.
    """
    return type(value) is type(VALUES[name]) and repr(value) == repr(VALUES[name])


@step
def tell(file: str, text: str, after: Any = None, seconds: float = 0.0) -> str:  # noqa: ARG001
    """Note when it begins and ends.

    Args:
        file: Where it is noted.
        text: What is noted, and given back.
        after: An output that is waited for.
        seconds: How long it takes.
    """
    note(file, f"{text} begins")
    time.sleep(seconds)
    note(file, f"{text} ends")
    return text


@step
def double(number: int, file: str) -> int:
    """Work on one item of many.

    Args:
        number: The item.
        file: Where it is noted.
    """
    note(file, f"begins {number}")
    time.sleep(0.05)
    note(file, f"ends {number}")
    return 2 * number


@step
def total(numbers: list[int]) -> list[int]:
    """Take what many have given, as it came."""
    return numbers


@step
def meet(file: str) -> bool:
    """Wait for another one; tell whether it came."""
    note(file, "here")
    return wait_for(file, 2)


@step
def measure() -> None:
    """Log a metric."""
    log_metric("loss", 0.25, step=0)
    log_metric("loss", 0.125, step=1)


@step
def fail(name: str) -> None:
    """Raise one of the errors."""
    raise ERRORS[name]


@step
def fail_stubbornly() -> None:
    """Raise what cannot travel."""
    raise StubbornError("stuck", reason="a lock")


@step
def give_a_lock() -> Any:
    """Give what no format can hold."""
    return threading.Lock()


@step
def take_a_lock(lock: Any) -> None:
    """Take what cannot travel."""


@step(timeout=1.0)
def sleep_on(file: str) -> None:
    """Take longer than the timeout."""
    note(file, f"at {time.time()}")
    time.sleep(600)


@step(timeout=1.0)
def never_listen(file: str) -> None:
    """Take longer than the timeout, whatever comes."""
    note(file, f"at {time.time()}")
    end = time.monotonic() + 600
    while time.monotonic() < end:
        with suppress(BaseException):
            time.sleep(600)


@step
def die(way: str) -> None:
    """End the process."""
    log_metric("last", 1.0)
    if way == "kill -9":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(int(way.removeprefix("exit ")))


@step
def die_and_note(file: str) -> None:
    """Note that it begins, and end the process."""
    note(file, "it begins")
    os._exit(3)


@step
def leave_a_child(file: str) -> int:
    """Give a value, and leave a forked child behind that holds all that this process has open."""
    child = os.fork()
    if not child:
        os.setsid()
        time.sleep(600)
        os._exit(0)
    note(file, f"begins {child} {time.time()}")
    return 7


@step
def roam(before: Any) -> dict[str, Any]:  # noqa: ARG001
    """Tell where it begins, and leave that place and a variable behind."""
    seen = {"folder": str(Path.cwd()), "variable": os.environ.get("LEFT_BEHIND")}
    os.environ["LEFT_BEHIND"] = "by a step"
    os.chdir("/")
    return seen


@step
def look_for(name: str) -> str | None:
    """Give a variable of the environment, where there is one."""
    return os.environ.get(name)


@step
def talk() -> int:
    """Write a lot to the streams of the process, some of it no text."""
    sys.stdout.write("talk " * 200_000)
    sys.stdout.flush()
    os.write(1, bytes(range(256)) * 4)
    subprocess.run([sys.executable, "-S", "-c", "print('child')"], check=True)
    return 7


@step
def hold(file: str, number: int) -> None:  # noqa: ARG001
    """Say that it runs, and go on until it is stopped.

    Args:
        file: Where it is noted.
        number: The item; several are held side by side.
    """
    try:
        note(file, f"begins {os.getpid()}")  # whoever reads it may stop this at once
        time.sleep(600)
    finally:
        note(file, f"stopped {os.getpid()}")


@step
def hold_whatever_comes(file: str, number: int) -> None:  # noqa: ARG001
    """Say that it runs, and go on when it is stopped.

    Args:
        file: Where it is noted.
        number: The item; several are held side by side.
    """
    end = time.monotonic() + 600
    with suppress(BaseException):
        note(file, f"begins {os.getpid()}")  # whoever reads it may stop this at once
    while time.monotonic() < end:
        with suppress(BaseException):
            time.sleep(600)


@step(cache=True)
def remember() -> int:
    """Be taken from the cache the second time."""
    return 5
