"""How are images sent whose pixels were kept as they are, when they were logged?

They are written smaller beside the tracker's other files of the run, and only for it: the journal
keeps what was logged.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import attrs

from trackyard.contract.records import Artifact
from trackyard.system.files import make_private_folder, replacing
from trackyard.system.png import is_plain, pack

logger = logging.getLogger("trackyard")


class Packing:
    """The images of one run that one tracker gets smaller than they lie in the journal.

    Args:
        folder: The tracker's folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "packed"

    def packed(self, artifact: Artifact) -> Artifact:
        """Give an artifact as it is sent: an image of ours with a smaller file, others as they are.

        Args:
            artifact: The artifact.
        """
        path = artifact.path
        try:
            if artifact.kind != "image" or not is_plain(path):
                return artifact
            target = make_private_folder(self._folder / path.resolve().parent.name) / path.name
            if not target.exists():
                with replacing(target) as part:
                    if not pack(path, part):
                        return artifact
        except Exception as error:  # a full disk, or what Pillow raises: it can be sent as it is
            logger.debug("%s is sent as it is: %s", path, error)
            return artifact
        return attrs.evolve(artifact, path=target)

    def clear(self) -> None:
        """Remove what the tracker has."""
        shutil.rmtree(self._folder, ignore_errors=True)  # there is none of most runs
