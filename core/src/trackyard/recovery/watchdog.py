"""What does the watchdog do? It waits for its runner's death and then finishes its runs.

    python -S -P -c "from trackyard.recovery.watchdog import main; main()" PROCESS_ID < lines

A line is a project's folder, or `touch ` and a lock file. Until the end it touches those files
every now and then, so that machines which cannot see the runner know that it lives; of a run that
goes on for some seconds it sums up the journal. For a script that is over before it imports next to
nothing, not even `pathlib`, and takes no time of the processor. Behind a project's folder there may
be a zero byte and the project's home: then nothing but what lies there can be left to do, and where
nothing does, it ends without the imports of recovery. Nothing reaches it through the runner but its
end: it has a session and files of its own.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # it lives as long as any script, and `typing` would cost it as much
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

# How long it goes on with a tracker that fails, in seconds; the rest is left to `trackyard sync`.
PATIENCE = 60.0
# How often it touches lock files, in seconds: several times in `system.life.SILENCE`.
_BEAT = 45.0
_TOUCH = b"touch "
# After so many seconds a run is summed up, so often, and while there is more to be read.
_LOOK, _LOOK_SOON = 5.0, 0.2


def main() -> None:
    """Wait, then finish what is pending in the projects that were named."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = int(sys.argv[1])
    named = wait_for_death(process)
    projects = [folder for folder, home in named.items() if _is_to_do(home)]
    if not projects:
        return
    from trackyard.system.helpers import add_packages

    add_packages()
    from pathlib import Path

    from trackyard.project.configuration import find_project
    from trackyard.recovery.finishing import sync_all
    from trackyard.recovery.sharing import share_journals
    from trackyard.recovery.tidying import tidy
    from trackyard.system.helper_end import end_soon

    try:
        for folder in projects:
            project = find_project(Path(folder))
            sync_all(project, patience=PATIENCE, just_died=process)
            share_journals(project)
            tidy(project)
    finally:
        end_soon()


def _is_to_do(home: str | None) -> bool:
    from trackyard.recovery.leftovers import has_leftovers

    return home is None or has_leftovers(home)


def wait_for_death(process: int) -> dict[str, str | None]:
    """Read project folders from standard input until a process is dead; touch its lock files.

    With each folder it gives the project's home, where the line has it.

    The pipe ends with the process, unless a child of it lives on and holds it open; the process
    itself is watched, therefore, where the system can (pidfd, Linux 5.3).
    """
    text, touched = b"", time.monotonic()
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    watched, is_dead = _open_process(process)
    if watched is not None:
        poll.register(watched, select.POLLIN)
    projects: dict[str, str | None] = {}
    locks: list[str] = []
    sums = _Sums()
    while True:
        if time.monotonic() >= touched + _BEAT:
            locks, touched = [lock for lock in locks if _touch(lock)], time.monotonic()
        sums.look([*projects], locks)
        until = min(touched + _BEAT, sums.next_at)
        wait = max(1.0, (until - time.monotonic()) * 1000) if locks else None
        ready = {file for file, _ in poll.poll(0 if is_dead else wait)}
        if 0 in ready:
            chunk = os.read(0, 65536)
            *lines, text = (text + chunk).split(b"\n")
            for line in filter(None, lines):
                if line.startswith(_TOUCH):
                    locks.append(os.fsdecode(line.removeprefix(_TOUCH)))
                    continue
                folder, _, home = os.fsdecode(line).partition("\0")
                projects[folder] = home or None
            if chunk:
                continue
            if watched is None:
                break
            poll.unregister(0)
        elif is_dead or watched in ready:
            break
    return projects


class _Sums:
    """Sums up the runs of a process that lives, from some seconds after their start on."""

    def __init__(self) -> None:
        self.next_at = time.monotonic() + _LOOK
        self._seen: dict[str, float] = {}
        self._ended: set[str] = set()
        self._growing: dict[Path, Any] = {}

    def look(self, projects: list[str], locks: list[str]) -> None:
        """Look at the runs, where it is time for that.

        Args:
            projects: The projects' folders.
            locks: The lock files of runs.
        """
        now = time.monotonic()
        seen = {lock: self._seen.get(lock, now) for lock in locks if lock not in self._ended}
        self._seen = seen
        if now < self.next_at:
            return
        self.next_at = now + _LOOK
        from pathlib import Path

        long = [lock for lock, since in seen.items() if now - since >= _LOOK]
        gone = [lock for lock in long if not _is_held(lock)]
        self._ended |= set(gone)
        old, ended = [Path(lock) for lock in long], [Path(lock) for lock in gone]
        for home, growing in self._of(projects, old).items():
            going = [lock.parent for lock in old if lock not in ended and _home(lock) == home]
            if growing.look_at(going):
                self.next_at = now + _LOOK_SOON
            growing.share()
            growing.finish([lock.parent for lock in ended if _home(lock) == home])

    def _of(self, projects: list[str], locks: list[Path]) -> dict[Path, Any]:
        """Give what sums up the runs below each home."""
        if {_home(lock) for lock in locks} - self._growing.keys():
            from trackyard.system.helpers import add_packages

            add_packages()
            from contextlib import suppress
            from pathlib import Path

            from trackyard.contract.errors import TrackyardError
            from trackyard.project.configuration import find_project
            from trackyard.recovery.growing import GrowingRuns

            for folder in projects:
                with suppress(TrackyardError, OSError):
                    project = find_project(Path(folder))
                    self._growing.setdefault(project.home, GrowingRuns(project))
        return {home: self._growing[home] for home in map(_home, locks) if home in self._growing}


def _home(lock: Path) -> Path:
    """Give the home of the project in which a run has its lock file."""
    return lock.parent.parent.parent


def _is_held(lock: str) -> bool:
    try:
        return os.stat(lock).st_size > 0  # noqa: PTH116 - without `pathlib`
    except OSError:
        return False


def _touch(lock: str) -> bool:
    """Touch a file, by its own disk's clock; False where its run has ended, or it has gone."""
    try:
        if os.stat(lock).st_size == 0:  # noqa: PTH116 - without `pathlib`
            return False
        os.utime(lock)
    except OSError:
        return False
    return True


def _open_process(process: int) -> tuple[int | None, bool]:
    """Give a file that tells when a process dies, if there can be one, and whether it is dead."""
    if not hasattr(os, "pidfd_open"):
        return None, False
    try:
        return os.pidfd_open(process), False
    except ProcessLookupError:  # it died before this one was up
        return None, True
    except OSError:  # the system cannot; the pipe tells
        return None, False


if __name__ == "__main__":
    main()
