"""Which runs were started inside a run?

Their ids stand in `children` in the run's folder, a line each: it is as quick to list them as to
read them, however many runs a project has. What a line says counts where the run that it names
says the same (`Run.parent_id`): the file may come from elsewhere.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from trackyard.system.files import append_private, make_private_folder

logger = logging.getLogger("trackyard")

_FILE = "children"
_ID = re.compile(r"[0-9a-f]{32}")


def note_child(folder: Path, child: str) -> None:
    """Note that a run was started inside another one; a full disk must not stop it.

    Args:
        folder: The folder of the run that it was started in.
        child: Its id.
    """
    try:
        make_private_folder(folder)
        append_private(folder / _FILE, f"{child}\n")
    except OSError as error:
        logger.debug("%s cannot be written: %s", folder / _FILE, error)


def children_of(folder: Path) -> list[str]:
    """Give the ids of the runs that were started inside a run, in their order.

    Args:
        folder: The run's folder.
    """
    try:
        lines = (folder / _FILE).read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []
    return sorted({line for line in lines if _ID.fullmatch(line)})
