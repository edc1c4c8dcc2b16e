"""What does the process do that uploads runs? Commands of W&B's, as long as its parent lives.

Its own command is `python -m trackyard_wandb.sync_process PARENT`. Each line that it reads is the
path of a run's file, or `live PATH` for one that grows. An upload that fails leaves a file beside
the run's, with what was wrong; of one that is done W&B itself leaves one.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from threading import Thread
from typing import TextIO

from trackyard_wandb.uploading import failure_of
from trackyard_wandb.writing import marker_of

# Seconds without an upload after which it ends; the next one starts it anew.
_IDLE_AFTER = 30.0


def main() -> None:
    """Upload until there is nothing more to upload."""
    uploads: list[Thread] = []
    reader = Thread(target=_read, args=(sys.stdin, uploads), daemon=True)
    reader.start()
    parent, busy_at = int(sys.argv[1]), time.monotonic()
    while os.getppid() == parent:
        if any(upload.is_alive() for upload in uploads):
            busy_at = time.monotonic()
        elif not reader.is_alive() or time.monotonic() - busy_at > _IDLE_AFTER:
            break
        time.sleep(0.1)
    os._exit(0)  # the SDK's service ends with this process


def _read(lines: TextIO, uploads: list[Thread]) -> None:
    for line in lines:
        upload = Thread(target=_upload, args=(line.rstrip("\n"),), daemon=True)
        upload.start()
        uploads.append(upload)


def _upload(line: str) -> None:
    from wandb.cli.cli import cli

    path = Path(line.removeprefix("live "))
    options = ["--live"] if line.startswith("live ") else []
    command = ["beta", "sync", "--no-skip-synced", *options, str(path)]
    problem = "it did not finish"
    try:
        cli.main(args=command, prog_name="wandb", standalone_mode=False)
    except BaseException as error:  # a command exits where it fails
        problem = f"{type(error).__name__}: {error}"
    if not marker_of(path).exists():
        failure_of(path).write_text(problem, encoding="utf-8")


if __name__ == "__main__":
    main()
