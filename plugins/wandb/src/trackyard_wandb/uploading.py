"""How is a run's file uploaded? By W&B's own `wandb sync`, in a process that ends with ours.

python -m trackyard_wandb.uploading PARENT ARGUMENTS...
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from trackyard import RetryLater
from trackyard_wandb.writing import marker_of

# What a user's environment says of runs is not said of this one.
_OF_RUNS = ("MODE", "SERVICE", "RUN_", "RESUME", "SWEEP", "LAUNCH", "ENTITY", "PROJECT", "DIR",
            "DISABLED", "SILENT", "QUIET", "TAGS", "NAME", "NOTES")  # fmt: skip


class Upload:
    """The upload of one file, in a process of its own.

    Args:
        path: The `.wandb` file.
        url: The server's address.
        api_key: The user's key.
    """

    def __init__(self, path: Path, url: str, api_key: str) -> None:
        self.path = path
        self._url = url
        self._api_key = api_key
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_done(self) -> bool:
        """Whether the server has the whole file, which W&B notes beside it."""
        return marker_of(self.path).exists()

    def start(self, *, is_live: bool) -> None:
        """Begin, unless it has begun; a live one follows a file that grows."""
        if self.is_done or (self._process is not None and self._process.poll() is None):
            return
        command = [sys.executable, "-m", "trackyard_wandb.sync_process", str(os.getpid())]
        command += ["beta", "sync", "--no-skip-synced", *(["--live"] if is_live else [])]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, str(self.path)],
                cwd=self.path.parent,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> None:
        """Wait until the server has the file; begin the upload where it has not begun.

        Raises:
            RetryLater: It does not have it yet.
        """
        self.start(is_live=False)
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired as error:
                raise RetryLater(f"{self._url} has not taken the run yet") from error
        if not self.is_done:
            raise RetryLater(f"wandb sync: {self._problem()}")

    def stop(self) -> None:
        """End it as it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def _log(self) -> Path:
        return self.path.with_name("upload.log")

    def _environment(self) -> dict[str, str]:
        prefixes = tuple(f"WANDB_{name}" for name in _OF_RUNS)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
        own = {"WANDB_API_KEY": self._api_key, "WANDB_BASE_URL": self._url}
        own |= {"WANDB_DIR": str(self.path.parent), "WANDB_ERROR_REPORTING": "false"}
        return {**kept, **own}

    def _problem(self) -> str:
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "it gave up"
        lines = [line for line in text.splitlines() if "ERROR" in line or "Failed" in line]
        return " ".join(lines or text.splitlines()[-1:])[:400]
