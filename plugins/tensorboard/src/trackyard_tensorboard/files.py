"""What do event files hold that some program, in any language, writes while a run is active?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from trackyard.contract import Record, Run
from trackyard_tensorboard.capturing import records_of
from trackyard_tensorboard.events import read_events_from


def read_files(run: Run, files: Path, position: str) -> tuple[list[Record], str]:
    """Read what is new in event files since the run began.

    Args:
        run: The run; its folder keeps images until the next read.
        files: One of them, or a folder, whose own folders become parts of keys.
        position: How far each file was read, as JSON; an empty text at first.
    """
    known: dict[str, int] = json.loads(position) if position else {}
    kept = run.folder / "read"
    shutil.rmtree(kept, ignore_errors=True)
    root = files.parent if files.is_file() else files
    records: list[Record] = []
    for path in _event_files(files):
        name = path.relative_to(root).as_posix()
        if name not in known:
            known[name] = 0 if _is_of_run(path, run) else path.stat().st_size
        folder = path.parent.relative_to(root).as_posix()
        prefix = "" if folder == "." else folder
        for event, end in read_events_from(path, known[name]):
            known[name] = end
            if event.HasField("summary"):
                records += records_of(event, prefix, partial(_kept, kept))
    return records, json.dumps(known)


def _event_files(files: Path) -> Iterator[Path]:
    if files.is_file():
        yield files
    else:
        yield from sorted(path for path in files.rglob("*tfevents*") if path.is_file())


def _is_of_run(path: Path, run: Run) -> bool:
    """Tell whether a file was still written when the run had begun, as far as its time says so."""
    return path.stat().st_mtime_ns >= run.started_at - 10**9  # some file systems count seconds


def _kept(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / str(sum(1 for _ in folder.iterdir()))
    path.write_bytes(content)
    return path
