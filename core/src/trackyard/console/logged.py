"""How does what a run printed become a file of the run, which its trackers get?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from trackyard.console.reading import ARTIFACT, MEDIA_TYPE, bounded, has_console, read_console
from trackyard.contract.errors import NewerFormatError
from trackyard.contract.records import Artifact
from trackyard.journal.blobs import Blobs
from trackyard.journal.entries import Entry

logger = logging.getLogger("trackyard")


def log_console(
    folder: Path, blobs: Blobs, append: Callable[[Entry], None], limit: int | None = None
) -> None:
    """Log what a run has printed as its file `console.log`; nothing where it has not.

    Args:
        folder: The run's folder.
        blobs: Where its files are stored.
        append: Takes the entry of the file.
        limit: Bytes at most, where its processes together may have kept more.
    """
    try:
        lines = read_console(folder) if has_console(folder) else []
        if not lines:
            return
        lines = lines if limit is None else bounded(lines, limit)
        text = "".join(f"{line}\n" for line in lines)
        with blobs.staging(ARTIFACT) as path:
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            now = time.time_ns()
            file = Artifact(ARTIFACT, path, "text", MEDIA_TYPE, None, now)
            append(Entry("artifact", now, None, file))
    except (OSError, NewerFormatError) as error:
        logger.warning("%s: what the run printed is not among its files: %s", folder, error)
