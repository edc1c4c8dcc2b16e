"""Does the process live that holds a lock file? By the lock, and by what it noted of itself there.

A lock alone is no proof. Some file systems show it on one machine only, code of the user's may have
closed the file that holds it, and in a copy of the folder nobody ever held it. Who is in doubt
takes the process for alive and says so: a run that lives must not be ended.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import attrs

from trackyard.system.descriptors import OwnFile, opened
from trackyard.system.files import read_whole
from trackyard.system.locks import is_locked

# Who cannot be seen lives while its files change; seconds of silence after which it counts as dead.
SILENCE = 180.0

# What has a lock file touched every now and then, where this process has a watchdog.
_touching: list[Callable[[Path], bool]] = []


class Life(NamedTuple):
    """What can be known of a process.

    Attributes:
        is_alive: It lives, or may live.
        doubt: Why nobody can know from here, and what to do; an empty text where it is known.
        is_silent: It gave no sign of life for long, and nobody has promised any.
    """

    is_alive: bool
    doubt: str = ""
    is_silent: bool = False


@attrs.frozen
class _Note:
    """What a process writes into its lock file.

    Attributes:
        process, started: Its number, and when it started, in the system's own ticks.
        boot: The boot of its machine.
        space: Where its number holds: a container has numbers of its own.
        host: The machine's name, for messages.
        inode, path: Of the lock file itself; a copy has another inode.
        beats: Somebody touches the file for as long as the process lives.
    """

    process: int
    started: int
    boot: str
    space: int
    host: str
    inode: int
    path: str
    beats: bool = False


def touch_by(touch: Callable[[Path], bool]) -> None:
    """Have this process's lock files touched by another one, which does so whatever this one does.

    Args:
        touch: Has a file touched from now on; False where nobody does.
    """
    _touching[:] = [touch]


def note_life(file: OwnFile, path: Path) -> None:
    """Write into a lock file that this process holds who it is; a full disk is no reason to stop.

    Args:
        file: The lock file.
        path: Its path.
    """
    process = os.getpid()
    boot, space, host = _place()
    started = _started(process) or 0
    where = path.absolute()
    beats = any(touch(where) for touch in _touching)
    note = _Note(process, started, boot, space, host, file.inode, str(where), beats)
    with suppress(OSError):
        os.pwrite(file.checked(), json.dumps(attrs.asdict(note)).encode(), 0)


def forget_life(path: Path) -> None:
    """Empty a lock file: nobody is to take this process for its holder any more."""
    with (
        suppress(OSError),
        opened(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)) as file,
    ):
        os.ftruncate(file.checked(), 0)


def life_of(path: Path) -> Life:
    """Tell whether the process lives that made a lock file.

    Args:
        path: The file. A process that ends in good order empties it.
    """
    if is_locked(path):
        return Life(True)
    note = _read(path)
    if note is None:
        return Life(False)
    boot, space, _ = _place()
    is_seen = (note.boot, note.space) == (boot, space)
    is_running = is_seen and _is_running(note)
    if note.inode != path.stat().st_ino:
        return _life_of_a_copy(path, note, is_running=is_running)
    if is_seen:
        return Life(is_running)
    age = _age(path)
    if note.beats and age > SILENCE:
        return Life(False)
    last = f"process {note.process} of {note.host} gave a sign of life {max(age, 0.0):.0f} s ago"
    advice = (
        f"once it is silent for {SILENCE:.0f} s it counts as dead"
        if note.beats
        else f"if it is dead, type: trackyard sync --dead {path.parent.name}"
    )
    doubt = f"{path.parent}: {last}, and whether it lives cannot be seen from here; {advice}"
    return Life(True, doubt, is_silent=age > SILENCE)


def _life_of_a_copy(path: Path, note: _Note, *, is_running: bool) -> Life:
    """Tell what is known of a file that was copied, or moved to another disk."""
    original = Path(note.path)
    with suppress(OSError):
        if original.stat().st_ino == note.inode:
            where = f"the run itself lies in {original.parent}"
            return Life(True, f"{path.parent} is a copy that is left alone: {where}")
    if is_running:
        who = f"process {note.process} is still writing the run itself"
        return Life(True, f"{path.parent} is a copy that is left alone: {who}")
    return Life(False)


def _read(path: Path) -> _Note | None:
    try:
        return _Note(**json.loads(read_whole(path)))
    except (OSError, ValueError, TypeError):
        return None


def _age(path: Path) -> float:
    """Give the seconds since the run's files changed, by the clock of their file system.

    A time that lies in the future is no sign of life: some clock was set back since.
    """
    now = time.time()
    with suppress(OSError):
        probe = path.with_name(f".now-{os.getpid()}")
        probe.touch(mode=0o600)
        now = probe.stat().st_mtime
        probe.unlink()
    ages = []
    for file in path.parent.glob(f"{path.stem}*"):  # what others write there is no sign of it
        with suppress(OSError):
            ages.append(now - file.stat().st_mtime)
    return min((age for age in ages if age >= -1.0), default=SILENCE + 1.0)


@cache
def _place() -> tuple[str, int, str]:
    """Give the boot of this machine, the space of its process numbers, and its name."""
    host, boot, space = platform.node(), "", 0
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        space = Path("/proc/self/ns/pid").stat().st_ino
    return boot or host, space, host


def _is_running(note: _Note) -> bool:
    started = _started(note.process)
    if started is not None:
        return started == note.started
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(note.process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _started(process: int) -> int | None:
    """Give when a process that lives started, by the system; None where it is dead or unknown."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
