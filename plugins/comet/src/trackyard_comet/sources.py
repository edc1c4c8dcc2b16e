"""Who reads what stands behind `comet:`, archives on the disk or a server?"""

from __future__ import annotations

import re
from pathlib import Path

from trackyard_comet.importing import Archives
from trackyard_comet.server_runs import ServerRuns

# A workspace, a project and an experiment; a path that begins with a dot is none.
_PROJECT = re.compile(r"([\w-][\w.-]*)/([^/]+)(?:/([^/]+))?")


def source_of(
    place: str | None, url: str, key: str | None, workspace: str | None, project: str | None
) -> Archives | ServerRuns:
    """Find who reads a place: archives where there are such, else a project of the server.

    Args:
        place: A folder, an archive, `workspace/project` or `workspace/project/key`; None for the
            project that is configured.
        url: The server's address.
        key: The API key, if there is one.
        workspace: Whose projects, where the place does not say.
        project: The project, likewise.
    """
    if place is not None:
        path = Path(place).expanduser()
        if path.exists() or not (match := _PROJECT.fullmatch(place)):
            return Archives(path)
        return ServerRuns(url, key, *match.groups())
    return ServerRuns(url, key, workspace, project)
