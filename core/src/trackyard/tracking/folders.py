"""Which files does a path stand for that a user logs: itself, or those of a folder?"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from trackyard.system.coercing import to_text


def files_of(path: Any, name: Any, notes: list[str]) -> list[tuple[str, Path]]:
    """Give the files that a path stands for, itself or those of a folder, and their names.

    Links are followed, as in outputs: what they lead to is logged under the link's name.

    Args:
        path: A file or folder.
        name: What to call it; its own name where this is empty.
        notes: Gets what cannot be logged: links that lead nowhere or back, empty folders,
            FIFOs, sockets and devices.

    Raises:
        Exception: There is no such file; or the folder cannot be read.
    """
    try:
        source = Path(path)
        is_there = path != "" and source.exists()  # an empty text would mean the working directory
    except (TypeError, OSError):  # no path at all, or one that is too long
        is_there = False
    if not is_there:
        raise FileNotFoundError(f"there is no file {to_text(path)[:100]}")
    base = to_text(name) if name else source.absolute().name
    if not source.is_dir():
        return [(base, source)]
    files: list[tuple[str, Path]] = []
    _add(source, base, (), files, notes)
    if not files and not notes:
        notes.append(f"{base} is empty: there is no file to log")
    return files


def _add(
    folder: Path,
    name: str,
    above: tuple[tuple[int, int], ...],
    files: list[tuple[str, Path]],
    notes: list[str],
) -> None:
    """Add what is in a folder.

    Args:
        folder: The folder.
        name: What it is called in the run.
        above: The device and number of each folder that it lies in.
        files: Gets the files and their names.
        notes: Gets what cannot be logged.
    """
    status = folder.stat()
    own = (status.st_dev, status.st_ino)
    if own in above:
        notes.append(f"{name} is a link that leads back to a folder it lies in, and was left out")
        return
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    if not entries and above:
        notes.append(f"{name} is an empty folder, and was left out")
    for entry in entries:
        inner, path = f"{name}/{entry.name}", folder / entry.name
        try:
            mode = entry.stat().st_mode
        except OSError:
            notes.append(f"{inner} is a link that leads nowhere, and was left out")
            continue
        if stat.S_ISDIR(mode):
            _add(path, inner, (*above, own), files, notes)
        elif stat.S_ISREG(mode):
            files.append((inner, path))
        else:
            notes.append(f"{inner} is no file and no folder, and was left out")
