"""How do the processes of a machine share one sampler?

The one that holds a lock looks at the machine and writes what it saw to a file of this user's;
the others read it. When it ends, another one gets the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from trackyard.contract import OwnFile
from trackyard_system_metrics.samples import Process, Sample, Sampler


class SharedSampler:
    """Gives samples of this machine, which one process of this user takes for all."""

    def __init__(self) -> None:
        self._folder = _folder()
        self._lock: OwnFile | None = None
        self._sampler: Sampler | None = None
        self._last: Sample | None = None

    @property
    def is_leader(self) -> bool:
        """Tell whether this process takes the samples."""
        return self._sampler is not None

    def sample(self, interval: float) -> Sample:
        """Give a sample.

        Args:
            interval: Seconds between two samples: how old one of another process may be, roughly.
        """
        if self._sampler is None and not self._lead():
            shared = self._read()
            if shared is not None and time.monotonic() - shared.time < 1.5 * interval:
                return shared
            # Whoever leads has been stopped, or samples less often: this one looks by itself.
            own = Sampler()
            try:
                return own.sample()
            finally:
                own.close()
        assert self._sampler is not None
        if self._last is None or time.monotonic() - self._last.time >= min(1.0, interval / 2):
            self._last = self._sampler.sample()
            self._write(self._last)
        return self._last

    def close(self) -> None:
        """Let another process take the samples."""
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
        if self._lock is not None:
            self._lock.close()  # a step may have closed it, and have a file of its number
            self._lock = None

    def _lead(self) -> bool:
        """Begin to take the samples, unless another process does."""
        if self._folder is not None:
            try:
                lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                return False
            try:
                # A lock of the process: a forked child does not hold it.
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                return False
            self._lock = OwnFile(lock)
        self._sampler = Sampler()
        return True

    def _write(self, sample: Sample) -> None:
        if self._folder is None:
            return
        beside = self._folder / f"sample.{os.getpid()}"
        with suppress(OSError):  # a full disk: the others look by themselves
            beside.write_text(json.dumps(sample), encoding="utf-8")
            beside.replace(self._folder / "sample.json")

    def _read(self) -> Sample | None:
        if self._folder is None:
            return None
        try:
            values = json.loads((self._folder / "sample.json").read_text(encoding="utf-8"))
            sample = Sample(*values)
            return sample._replace(processes=[Process(*one) for one in sample.processes])
        except (OSError, ValueError, TypeError):
            return None


def _folder() -> Path | None:
    """Give a folder of this user's that all of its processes see; None where there is none."""
    place = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = place / f"trackyard-system-metrics-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return folder if is_own and not status.st_mode & 0o077 else None
