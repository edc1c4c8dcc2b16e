"""When are journals deleted by themselves that every tracker has, as `[journal] keep` says?"""

from __future__ import annotations

import logging
import subprocess

from trackyard.contract.errors import TrackyardError
from trackyard.journal.durability import load_journal_options
from trackyard.project.configuration import Project
from trackyard.system.files import is_recent, touch_private
from trackyard.system.helpers import helper_command

logger = logging.getLogger("trackyard")

# Seconds between two times that nobody asked for.
_AT_MOST_EVERY = 24 * 3600.0


def tidy(project: Project) -> bool:
    """Delete what is older than a project keeps, once a day; tell whether it was time for that.

    It is `trackyard gc`, in a process of its own, which is waited for. It never raises.

    Args:
        project: The project, whose runs have just been delivered.
    """
    stamp = project.home / "gc.stamp"
    try:
        keep = load_journal_options(project).keep
        if keep is None or (stamp.exists() and is_recent(stamp, _AT_MOST_EVERY)):
            return False
        touch_private(stamp)
        subprocess.run(
            helper_command("trackyard", "gc", "--older-than", keep),
            cwd=project.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, TrackyardError) as error:
        logger.debug("nothing is tidied in %s: %s", project.home, error)
        return False
    return True
