"""How is a run's file uploaded? By W&B's own `wandb sync`, in a process that ends with ours.

The process serves all runs that go to one server: the SDK takes most of a second to import.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO

from trackyard.contract import RetryLater, home
from trackyard_wandb.writing import marker_of

# What a user's environment says of runs is not said of this one.
_OF_RUNS = ("MODE", "SERVICE", "RUN_", "RESUME", "SWEEP", "LAUNCH", "ENTITY", "PROJECT", "DIR",
            "DISABLED", "SILENT", "QUIET", "TAGS", "NAME", "NOTES")  # fmt: skip


def failure_of(path: Path) -> Path:
    """Give the file that says why an upload has ended without success."""
    return path.with_name("upload-failed.txt")


class Upload:
    """The upload of one file.

    Args:
        path: The `.wandb` file.
        url: The server's address.
        api_key: The user's key.
    """

    def __init__(self, path: Path, url: str, api_key: str) -> None:
        self.path = path
        self._url = url
        self._api_key = api_key
        self._process: _SyncProcess | None = None

    @property
    def is_done(self) -> bool:
        """Whether the server has the whole file, which W&B notes beside it."""
        return marker_of(self.path).exists()

    def start(self, *, is_live: bool) -> None:
        """Begin, unless it has begun; a live one follows a file that grows."""
        if self.is_done or self._is_going_on():
            return
        failure_of(self.path).unlink(missing_ok=True)
        self._process = _sync_process(self._url, self._api_key)
        self._process.upload(self.path, is_live=is_live)

    def wait(self, seconds: float) -> None:
        """Wait until the server has the file; begin the upload where it has not begun.

        Raises:
            RetryLater: It does not have it yet.
        """
        self.start(is_live=False)
        end = time.monotonic() + seconds
        while not self.is_done and self._is_going_on():
            if time.monotonic() > end:
                raise RetryLater(f"{self._url} has not taken the run yet")
            time.sleep(0.02)
        if not self.is_done:
            raise RetryLater(f"wandb sync: {self._problem()}")

    def _is_going_on(self) -> bool:
        is_there = self._process is not None and self._process.is_alive
        return is_there and not failure_of(self.path).exists()

    def _problem(self) -> str:
        """Say what was wrong; the process that failed takes no more uploads."""
        said = self._process.close() if self._process is not None else []
        errors = [line for line in said if self.path.stem.removeprefix("run-") in line]
        try:
            errors.append(failure_of(self.path).read_text(encoding="utf-8"))
        except OSError:
            errors.append("its process has ended")
        return " ".join(errors)[-400:]


class _SyncProcess:
    """A process that uploads files to one server."""

    def __init__(self, url: str, api_key: str, owner: tuple[int, str, str]) -> None:
        self.owner = owner
        folder = home() / "workers"
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / f"wandb-sync-{os.getpid()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "trackyard_wandb.sync_process", str(os.getpid())],
                cwd=folder,
                env=_environment(url, api_key, folder),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def takes_more(self) -> bool:
        """Whether it lives, and has not been closed."""
        return self.is_alive and not self._input.closed

    def upload(self, path: Path, *, is_live: bool) -> None:
        """Begin an upload."""
        try:
            self._input.write(f"{'live ' if is_live else ''}{path.absolute()}\n".encode())
            self._input.flush()
        except OSError:  # it has just ended
            failure_of(path).write_text("its process has ended", encoding="utf-8")

    def close(self) -> list[str]:
        """Let it end when its uploads have; give what it has said."""
        if not self._input.closed:
            with suppress(OSError):  # it has ended
                self._input.close()
        try:
            return self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin


# Like the SDK's own service there is one in a process, for each server and user.
_processes: list[_SyncProcess] = []
_choosing = Lock()


def _sync_process(url: str, api_key: str) -> _SyncProcess:
    """Give the process that serves a server; a new one where it has ended or failed."""
    owner = (os.getpid(), url, hashlib.sha256(api_key.encode()).hexdigest())
    with _choosing:
        for process in [*_processes]:
            if process.owner == owner and process.takes_more:
                return process
            if not process.is_alive:
                process.close()
                _processes.remove(process)
        _processes.append(_SyncProcess(url, api_key, owner))
        return _processes[-1]


def _environment(url: str, api_key: str, folder: Path) -> dict[str, str]:
    prefixes = tuple(f"WANDB_{name}" for name in _OF_RUNS)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    own = {"WANDB_API_KEY": api_key, "WANDB_BASE_URL": url}
    return {**kept, **own, "WANDB_DIR": str(folder), "WANDB_ERROR_REPORTING": "false"}
