"""Which pipeline runs have a driver that lives, and which one has died without a word?

The driver of a pipeline run holds a lock in `.trackyard/drivers/` for as long as it lives, beside a
file that says which steps there are. Both are gone when the run has ended.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import NewerFormatError, refuse_newer
from trackyard.project.configuration import Project
from trackyard.system.files import make_home, make_private_folder, write_whole
from trackyard.system.life import forget_life, life_of, note_life
from trackyard.system.locks import FileLock
from trackyard.system.stamps import is_stamped, stamp_of

logger = logging.getLogger("trackyard")

FORMAT = 1


class DriverMark:
    """What a driver leaves behind if it dies. No method raises: a full disk must not stop it.

    Args:
        project: The project.
        run_id: The pipeline run's id.
    """

    def __init__(self, project: Project, run_id: str) -> None:
        self._project = project.identity
        self._folder = project.home / "drivers"
        self._files = {kind: self._folder / f"{run_id}.{kind}" for kind in _KINDS}
        self._lock = FileLock(self._files["lock"])
        self._known: dict[str, Any] = {}

    def make(self, steps: Iterable[tuple[str, int]], step: Mapping[str, Any] | None = None) -> None:
        """Say that this process drives the run.

        Args:
            steps: The names and positions of its steps.
            step: Of another runner's step, which is driven by itself, what the store knows of it.
        """
        try:
            make_private_folder(make_home(self._folder.parent) / self._folder.name)
            if self._lock.acquire() and self._lock.file is not None:
                note_life(self._lock.file, self._files["lock"])
            self._known = {"format": FORMAT, "pid": os.getpid(), "steps": [*steps], "step": step}
            # Written last: who finds it without a lock may take the driver for dead.
            self._write(self._known)
        except OSError as error:
            logger.debug("%s cannot be written: %s", self._folder, error)

    def owe(self, owed: list[Any]) -> None:
        """Note what the store lacks, which is away: calls as `store.outbox` writes them."""
        try:
            self._write({**self._known, "owed": owed})
        except OSError as error:
            logger.debug("%s cannot be written: %s", self._folder, error)

    def _write(self, values: Mapping[str, Any]) -> None:
        """Write the mark with a stamp: one that comes from elsewhere ends nothing by itself."""
        path, text = self._files["json"], json.dumps(values)
        stamp = stamp_of("driver", path.stem, self._project, text)
        write_whole(path, json.dumps({**values, "project": self._project, "stamp": stamp}))

    def touch(self) -> None:
        """Note that the driver has just done something."""
        with suppress(OSError):
            os.utime(self._files["json"])

    def note_signal(self, number: int) -> None:
        """Note that the driver is told to stop: it may be killed before it has."""
        with suppress(OSError):
            write_whole(self._files["signal"], str(number))

    def release(self) -> None:
        """Leave the rest to recovery, which takes this process for dead."""
        forget_life(self._files["lock"])
        self._lock.release()

    def remove(self) -> None:
        """Say that the run has ended as it should."""
        for kind in _KINDS:
            with suppress(OSError):
                self._files[kind].unlink(missing_ok=True)
        self._lock.release()


@attrs.frozen
class DeadDriver:
    """A pipeline run, or another runner's step, whose driver has died.

    Attributes:
        run_id: The run's id.
        steps: The names and positions of its steps.
        told: The signal that told it to stop before, if one did.
        seen_alive: When it was last seen to do something, in nanoseconds since the epoch.
        process: Its process id.
        step: Of another runner's step, what the store knows of it.
        problem: Why its end could not be recorded when that was last tried, if it was.
        owed: What the store lacks of it, see `store.outbox`.
        project: Folder of the project in which this user's own process wrote so; None where no
            stamp says that.
    """

    run_id: str
    steps: tuple[tuple[str, int], ...]
    told: int | None
    seen_alive: int
    process: int
    step: Mapping[str, Any] | None = None
    problem: str = ""
    owed: tuple[Any, ...] = ()
    project: str | None = None


@attrs.frozen
class UnreadableMark:
    """What a dead driver has left, which says nothing to this Trackyard.

    Attributes:
        path: The file.
        problem: What is wrong with it.
        advice: What to type.
        is_newer: A newer Trackyard can read it.
    """

    path: Path
    problem: str
    advice: str
    is_newer: bool = False


def mark_of(home: Path, run_id: str) -> Path:
    """Give the file that lies in a project while a pipeline run has a driver.

    Args:
        home: The project's `.trackyard`.
        run_id: The pipeline run's id.
    """
    return home / "drivers" / f"{run_id}.json"


def find_dead_drivers(home: Path) -> list[DeadDriver]:
    """List pipeline runs whose driver has died, by files and locks alone."""
    return [mark for mark in _marks_of_dead(home) if isinstance(mark, DeadDriver)]


def find_unreadable_marks(home: Path) -> list[UnreadableMark]:
    """List what dead drivers have left that is damaged, or of a newer version."""
    return [mark for mark in _marks_of_dead(home) if isinstance(mark, UnreadableMark)]


def _marks_of_dead(home: Path) -> Iterator[DeadDriver | UnreadableMark]:
    for path in sorted((home / "drivers").glob("*.json")):
        if life_of(path.with_suffix(".lock")).is_alive:
            continue
        try:
            yield _read(path)
        except FileNotFoundError:
            continue  # it ends just now
        except NewerFormatError:
            problem = "it was written by a newer Trackyard"
            advice = "type: pip install --upgrade trackyard"
            yield UnreadableMark(path, problem, advice, is_newer=True)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problem = "it cannot be read" if isinstance(error, OSError) else "it is damaged"
            yield UnreadableMark(path, problem, f"type: {how_to_forget(home, path.stem)}")


def _read(path: Path) -> DeadDriver:
    values = json.loads(path.read_text(encoding="utf-8"))
    refuse_newer(path, values.get("format", FORMAT), FORMAT)
    project, stamp = values.pop("project", None), values.pop("stamp", None)
    signed = ("driver", path.stem, str(project), json.dumps(values))
    return DeadDriver(
        path.stem,
        tuple((str(name), int(position)) for name, position in values["steps"]),
        _told(path),
        path.stat().st_mtime_ns,
        int(values["pid"]),
        values.get("step"),
        _problem(path),
        tuple(values.get("owed", ())),
        str(project) if is_stamped(stamp, *signed) else None,
    )


def note_problem(home: Path, run_id: str, problem: str) -> None:
    """Note why the end of a driver's run cannot be recorded: nobody tries again by itself.

    Args:
        home: The project's `.trackyard`.
        run_id: The driver's run.
        problem: Why, for people.
    """
    with suppress(OSError):
        write_whole(
            home / "drivers" / f"{run_id}.problem", problem.encode("utf-8", "backslashreplace")
        )


def how_to_forget(home: Path, run_id: str) -> str:
    """Give the command that removes what a dead driver has left.

    Args:
        home: The project's `.trackyard`.
        run_id: The driver's run.
    """
    return f"rm {shlex.quote(str(home / 'drivers' / run_id))}.*"


def forget_driver(home: Path, run_id: str) -> None:
    """Remove what a dead driver has left.

    Args:
        home: The project's `.trackyard`.
        run_id: The driver's run.
    """
    for kind in _KINDS:
        with suppress(OSError):
            (home / "drivers" / f"{run_id}.{kind}").unlink(missing_ok=True)


# In the order in which they are removed.
_KINDS = ("json", "signal", "problem", "lock")


def _told(path: Path) -> int | None:
    try:
        return int(path.with_suffix(".signal").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _problem(path: Path) -> str:
    try:
        return path.with_suffix(".problem").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
