"""What does the watchdog do? It waits for its runner's death and then finishes its runs.

    python -m trackyard.recovery.watchdog PROCESS_ID < project folders, one a line

Until then it imports nothing of Trackyard and takes no time of the processor. Nothing reaches it
through the runner but its end: it has a session and files of its own.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

# How long it goes on with a tracker that fails, in seconds; the rest is left to `trackyard sync`.
PATIENCE = 60.0


def main() -> None:
    """Wait, then finish what is pending in the projects that were named."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = int(sys.argv[1])
    projects = wait_for_death(process)
    from trackyard.project.configuration import find_project
    from trackyard.recovery.finishing import sync_all

    for project in projects:
        sync_all(find_project(project), patience=PATIENCE, just_died=process)


def wait_for_death(process: int) -> list[Path]:
    """Read project folders from standard input until a process is dead.

    The pipe ends with the process, unless a child of it lives on and holds it open; the process
    itself is watched, therefore, where the system can (pidfd, Linux 5.3).
    """
    text = b""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    watched, is_dead = _open_process(process)
    if watched is not None:
        poll.register(watched, select.POLLIN)
    while True:
        ready = {file for file, _ in poll.poll(0 if is_dead else None)}
        if 0 in ready:
            chunk = os.read(0, 65536)
            text += chunk
            if chunk:
                continue
            if watched is None:
                break
            poll.unregister(0)
        elif is_dead or watched in ready:
            break
    return [Path(line) for line in dict.fromkeys(text.decode().splitlines()) if line]


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
