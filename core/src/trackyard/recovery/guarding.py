"""How does a run end well when its process dies: who watches over it?

A watchdog process per runner (`trackyard.recovery.watchdog`) outlives it. This file starts it;
nothing of the watchdog is imported here, which keeps the runner light.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from threading import Lock

from trackyard.contract.errors import TrackyardError
from trackyard.journal.durability import load_journal_options
from trackyard.project.configuration import Project
from trackyard.system.descriptors import OwnFile
from trackyard.system.helpers import bare_command
from trackyard.system.life import touch_by

logger = logging.getLogger("trackyard")

# One watchdog serves all runs of a process. A forked child starts its own.
_started: dict[int, OwnFile] = {}  # process id -> write end of the watchdog's pipe
_told: set[tuple[int, Path]] = set()
_lock = Lock()


def watch_over(project: Project) -> None:
    """Have the runs of a project finished if this process dies. It never raises.

    `TRACKYARD_WATCHDOG=0` switches it off: then the next Trackyard command does the work.

    Args:
        project: The project.
    """
    if not is_wanted():
        return
    process = os.getpid()
    with _lock:
        if (process, project.root) in _told:
            return
        try:
            pipe = _started.get(process)
            if pipe is None or not pipe.is_ours():  # closed, with what else the user's code closed
                _started[process] = pipe = OwnFile(_start(process))
                touch_by(_touch)
            os.write(pipe.number, line_of(project))
            _told.add((process, project.root))
        except (OSError, NotImplementedError) as error:
            logger.debug("no watchdog: %s", error)


def line_of(project: Project) -> bytes:
    """Name a project to the watchdog, with its home unless journals there are deleted by age.

    Args:
        project: The project.
    """
    try:
        keeps_all = load_journal_options(project).keep is None
    except TrackyardError:  # who reads them to track a run says so
        keeps_all = False
    folders = [project.root, project.home] if keeps_all else [project.root]
    return b"\0".join(os.fsencode(folder) for folder in folders) + b"\n"


def _touch(lock: Path) -> bool:
    """Have a lock file touched by this process's watchdog; a forked child's by its parent's."""
    pipe = _started.get(os.getpid(), next(reversed(_started.values()), None))
    try:
        if pipe is None or "\n" in str(lock):
            return False
        os.write(pipe.checked(), b"touch " + os.fsencode(lock) + b"\n")
    except OSError as error:  # the watchdog was killed
        logger.debug("no sign of life: %s", error)
        return False
    return True


def is_wanted() -> bool:
    """Tell whether runs are watched over: `TRACKYARD_WATCHDOG=0` switches that off."""
    return os.environ.get("TRACKYARD_WATCHDOG") != "0"


def finish_in_background(project_root: Path) -> None:
    """Have a process of its own finish what is pending in a project, now. It never raises."""
    try:
        pipe = _start(0)
        os.write(pipe, f"{project_root}\n".encode())
        os.close(pipe)
    except (OSError, NotImplementedError) as error:
        logger.debug("no recovery: %s", error)


def _start(process: int) -> int:
    """Start a watchdog of a process, or of none where it is 0; give its pipe."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # nobody waits for a watchdog that was stopped
    os.set_inheritable(reading, True)
    null = ("/dev/null", os.O_RDWR, 0)
    actions = [
        (os.POSIX_SPAWN_DUP2, reading, 0),
        (os.POSIX_SPAWN_OPEN, 1, *null),
        (os.POSIX_SPAWN_OPEN, 2, *null),
        (os.POSIX_SPAWN_CLOSE, reading),
    ]
    command = bare_command("trackyard.recovery.watchdog", str(process))
    try:
        # A session of its own: Ctrl-C on a terminal goes to the whole group of the runner.
        os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    return writing
