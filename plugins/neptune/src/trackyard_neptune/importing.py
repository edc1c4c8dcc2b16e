"""Which runs does a place of Neptune's hold: exports, or folders that were never synchronised?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import attrs

from trackyard.contract import Artifact, ImportNote, RemoteRun, RunQuery, TrackyardError, inside
from trackyard_neptune.exports import Exports, Piece
from trackyard_neptune.folder import operations_in
from trackyard_neptune.operations import records_of

_LOGS = "data-*.log"


class Source(Protocol):
    """Lists and reads the runs of a place."""

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List them."""

    def read(self, remote_id: str, scratch: Path) -> Iterator[Piece]:
        """Read one.

        Args:
            remote_id: Its id.
            scratch: Where files are written.
        """


def source_of(place: str | None) -> Source:
    """Find who reads a place.

    Args:
        place: A folder.

    Raises:
        TrackyardError: There is nothing of Neptune's.
    """
    if place is None:
        raise TrackyardError("Neptune's service is closed; name a folder of exports, or .neptune")
    root = Path(place).expanduser()
    if next(root.rglob("*_part_*.parquet"), None) is not None:
        return Exports(root)
    if next(root.rglob(_LOGS), None) is not None:
        return Offline(root)
    raise TrackyardError(f"{place}: neither exports of neptune-exporter nor a folder .neptune")


@attrs.define
class Offline:
    """Folders `.neptune`, whose runs no server has got.

    Attributes:
        root: The folder.
    """

    root: Path
    _folders: dict[str, Path] = attrs.field(factory=dict)

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs.

        Args:
            query: Which runs.
        """
        for folder in sorted({path.parent for path in self.root.rglob(_LOGS)}):
            holder = next((f for f in (folder, folder.parent) if _is_run(f)), folder)
            sizes = [path.stat().st_size for path in sorted(folder.glob(_LOGS))]
            first = min(path.stat().st_mtime_ns for path in folder.iterdir())
            self._folders[holder.name] = folder
            run = RemoteRun(
                remote_id=holder.name,
                name=holder.name,
                experiment=_project_of(holder) or "neptune",
                started_at=first,
                version=" ".join(map(str, sizes)),
                size=sum(sizes),
            )
            if query.fits(run):
                yield run

    def read(self, remote_id: str, scratch: Path) -> Iterator[Piece]:
        """Read a run that was listed.

        Args:
            remote_id: Its folder's name.
            scratch: Where files are written.
        """
        folder = self._folders[remote_id]
        operations = operations_in(folder)
        own = {tuple(o["path"]): o.get("value") for o in operations if o["path"][0] == "sys"}
        for record in records_of(operations, scratch):
            is_ours = isinstance(record, Artifact) and record.path.parent == scratch
            if (
                isinstance(record, Artifact)
                and not is_ours
                and inside(self.root, record.path) is None
            ):
                yield ImportNote(f"artifact {record.name}: its file is not in the folder")
            else:
                yield record
        has_failed = own.get(("sys", "failed")) is True
        name = own.get(("sys", "name"))
        is_named = isinstance(name, str) and name not in ("", "Untitled")
        yield RemoteRun(
            remote_id,
            name=name if is_named else None,
            status="failed" if has_failed else "finished",
        )


def _is_run(folder: Path) -> bool:
    return folder.name.startswith(("run__", "container__"))


def _project_of(folder: Path) -> str | None:
    """Give the project that the run was meant for, as the folder's own description says."""
    for place in sorted(folder.rglob("metadata.json")):
        try:
            found = json.loads(place.read_text(encoding="utf-8"))
            return str((found.get("structure") and found.get("projectId")) or "") or None
        except (OSError, ValueError, AttributeError):
            continue
    return None
