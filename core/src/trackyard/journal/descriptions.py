"""What is written down at the start of a run so that another process can go on with it?"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.contract.flavors import Secret
from trackyard.contract.records import Run
from trackyard.system.coercing import to_text
from trackyard.system.files import write_whole

logger = logging.getLogger("trackyard")

FORMAT = 1
# The tag that names where a run was replayed from; the trackers that had it before lack it.
REPLAYED_FROM = "trackyard.replayed_from"
_FILE = "run.json"


@attrs.frozen
class TrackerDescription:
    """A tracker of a run: core's options and the flavor's fields as written, secrets as references.

    Attributes:
        name: The tracker's name.
        folder: Name of its folder in the run's folder.
        table: The fields.
        place: File and key path, for messages.
    """

    name: str
    folder: str
    table: Mapping[str, Any]
    place: str


@attrs.frozen
class RunDescription:
    """A run and its trackers, as they were at the start."""

    run: Run
    trackers: tuple[TrackerDescription, ...]

    @property
    def counts_all_ranks(self) -> bool:
        """Some tracker gets what children of all ranks log."""
        return wants_all_ranks(self.trackers)


def folder_names(description: RunDescription | None) -> list[str]:
    """Name the trackers' folders of a run."""
    return [tracker.folder for tracker in description.trackers] if description else []


def wants_all_ranks(trackers: Iterable[TrackerDescription]) -> bool:
    """Tell whether one of a run's trackers gets what children of all ranks log."""
    return any(tracker.table.get("rank") == "all" for tracker in trackers)


def run_for(description: RunDescription, tracker: TrackerDescription, run_folder: Path) -> Run:
    """Give the run as a tracker gets it: with its folder, and that of its parent if it has one."""
    run, folder = description.run, run_folder / tracker.folder
    parent = run_folder.parent / run.parent_id / tracker.folder if run.parent_id else None
    if parent is None or not parent.is_dir():
        return attrs.evolve(run, folder=folder, parent_id=None, parent_folder=None)
    return attrs.evolve(run, folder=folder, parent_folder=parent)


def is_portable(table: Mapping[str, Any]) -> bool:
    """Tell whether a tracker's fields mean the same in another process."""
    try:
        json.dumps(table, default=_reference_or_path)
    except (TypeError, ValueError):
        return False
    return True


def _reference_or_path(value: Any) -> str:
    if isinstance(value, Secret | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} stays in its process")


def save_description(folder: Path, run: Run, trackers: Sequence[TrackerDescription]) -> None:
    """Write a run's description, whole or not at all; a full disk must not stop the step."""
    values = attrs.asdict(run, value_serializer=_plain)
    for local in ("folder", "parent_folder", "deadline", "attached", "ended_at"):
        values.pop(local)
    described = [attrs.asdict(tracker, value_serializer=_plain) for tracker in trackers]
    text = json.dumps({"format": FORMAT, "run": values, "trackers": described}, default=to_text)
    try:
        write_whole(folder / _FILE, text)
    except OSError as error:
        logger.warning("%s cannot be written: %s", folder / _FILE, error.strerror)


def is_described(folder: Path) -> bool:
    """Tell whether a run's description is there, without which no other process can deliver it."""
    return (folder / _FILE).exists()


def load_description(folder: Path) -> RunDescription | None:
    """Read a run's description; None where there is none, or none that can be read.

    Raises:
        TrackyardError: A newer Trackyard wrote it.
    """
    try:
        values = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        if values["format"] > FORMAT:
            raise TrackyardError(
                f"{folder / _FILE}: was written by a newer Trackyard; "
                f"type: pip install --upgrade trackyard"
            )
        run = Run(**values["run"], folder=folder, attached=True)
        trackers = tuple(TrackerDescription(**tracker) for tracker in values["trackers"])
        _check_names(folder, run, trackers)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return RunDescription(run, trackers)


def _check_names(folder: Path, run: Run, trackers: Sequence[TrackerDescription]) -> None:
    """Refuse what would lead out of the folder; the file may come from elsewhere.

    Raises:
        ValueError: It does.
    """
    names = [tracker.folder for tracker in trackers]
    names += [run.parent_id] if run.parent_id is not None else []
    is_own = run.id == folder.name
    if not is_own or any(not name or "/" in name or name.startswith(".") for name in names):
        raise ValueError(f"{folder / _FILE}: names something outside")


def folder_name(tracker: str) -> str:
    """Make a file name from a tracker's name, which is the user's and may hold anything."""
    if tracker.replace("-", "").replace("_", "").isalnum() and tracker.isascii():
        return tracker
    return tracker.encode("utf-8", "backslashreplace").hex()


def _plain(_: Any, __: Any, value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, Path):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else value


def metadata_of(flavors: Mapping[str, str], urls: Mapping[str, str]) -> dict[str, str]:
    """Give what the store keeps of a run's trackers: their flavors and URLs, by name."""
    metadata = {f"experiment_tracker.{name}": flavor for name, flavor in flavors.items()}
    metadata |= {f"experiment_tracker_url.{name}": url for name, url in urls.items()}
    if urls:
        metadata["experiment_tracker_url"] = next(iter(urls.values()))
    return metadata
