"""What is written down at the start of a run so that another process can go on with it?

What it says of a tracker is believed where a stamp of this user's stands beside it: the file may
come from elsewhere, and would choose a class, a secret or an address.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import refuse_newer
from trackyard.contract.flavors import Secret
from trackyard.contract.records import Run
from trackyard.system.coercing import to_text
from trackyard.system.files import write_whole
from trackyard.system.stamps import is_stamped, stamp_of

logger = logging.getLogger("trackyard")

# 2: a run that was resumed, whose end an older version would not find. Others have 1.
FORMAT = 2
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
        project: Folder of the project in which this user's own process described it; None where
            no stamp says so.
    """

    name: str
    folder: str
    table: Mapping[str, Any]
    place: str
    project: str | None = None


@attrs.frozen
class SourceDescription:
    """A flavor whose SDK's own calls are captured in a run that it does not track.

    Attributes:
        source: As `capture` names it.
        folder: Name of its folder in the run's folder.
        project: Folder of the project.
    """

    source: str
    folder: str
    project: str


@attrs.frozen
class RunDescription:
    """A run and its trackers, as they were at the start.

    Attributes:
        run: The run.
        trackers: Its trackers.
        sources: What else is captured in it, if this user's own process wrote that.
    """

    run: Run
    trackers: tuple[TrackerDescription, ...]
    sources: tuple[SourceDescription, ...] = ()

    @property
    def without_sources(self) -> RunDescription:
        """The same where nothing else is captured."""
        return attrs.evolve(self, sources=())

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
    """Give the run as a tracker gets it: with its folder, and that of its parent if it has one.

    Args:
        description: The run's description.
        tracker: That of the tracker.
        run_folder: The run's folder.
    """
    run, folder = description.run, run_folder / tracker.folder
    parent = run_folder.parent / run.parent_id / tracker.folder if run.parent_id else None
    if parent is None or not parent.is_dir():
        return attrs.evolve(run, folder=folder, parent_id=None, parent_folder=None)
    return attrs.evolve(run, folder=folder, parent_folder=parent)


def is_portable(table: Mapping[str, Any]) -> bool:
    """Tell whether a tracker's fields mean the same in another process."""
    try:
        plain_table(table)
    except (TypeError, ValueError):
        return False
    return True


def plain_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """Give a tracker's fields as JSON has them, secrets as references.

    Raises:
        TypeError: A field holds something that stays in its process.
        ValueError: Likewise, or it goes round in a circle.
    """
    plain: dict[str, Any] = json.loads(json.dumps(table, default=_reference_or_path))
    return plain


def _reference_or_path(value: Any) -> str:
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} stays in its process")


def save_description(
    folder: Path,
    run: Run,
    trackers: Sequence[TrackerDescription],
    sources: Sequence[SourceDescription] = (),
) -> None:
    """Write a run's description, whole or not at all; a full disk must not stop the step.

    Args:
        folder: The run's folder.
        run: The run.
        trackers: The trackers that it is to reach.
        sources: What else is captured in it.
    """
    values = attrs.asdict(run, value_serializer=_plain)
    for local in ("folder", "parent_folder", "deadline", "attached", "ended_at", "context"):
        values.pop(local)
    if not run.resumed:
        del values["resumed"]
    described = [attrs.asdict(tracker, value_serializer=_plain) for tracker in trackers]
    projects = [tracker.pop("project") for tracker in described]
    stamps = {
        tracker["name"]: {"project": project, "stamp": _stamp_of(values, tracker, project)}
        for tracker, project in zip(described, projects, strict=True)
        if project is not None
    }
    number = FORMAT if run.resumed else 1
    whole = {"format": number, "run": values, "trackers": described, "stamps": stamps}
    if sources:  # older readers pass over them
        captured = [attrs.asdict(source) for source in sources]
        whole["sources"] = captured
        whole["stamp_of_sources"] = stamp_of(*_signed_sources(run.id, captured))
    text = json.dumps(whole, default=to_text)
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
        NewerFormatError: A newer Trackyard wrote it.
    """
    try:
        values = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        refuse_newer(folder / _FILE, values["format"], FORMAT)
        run = Run(**values["run"], folder=folder, attached=True)
        trackers = tuple(_tracker_of(values, tracker) for tracker in values["trackers"])
        _check_names(folder, run, trackers)
        sources = _sources_of(values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return RunDescription(run, trackers, sources)


def _sources_of(values: Mapping[str, Any]) -> tuple[SourceDescription, ...]:
    """Give the sources that this user's own process described: others choose no flavor here."""
    captured = values.get("sources", [])
    signed = _signed_sources(values["run"]["id"], captured)
    if not captured or not is_stamped(values.get("stamp_of_sources"), *signed):
        return ()
    return tuple(SourceDescription(**source) for source in captured)


def _signed_sources(run_id: str, captured: Any) -> tuple[str, ...]:
    return ("sources", json.dumps([run_id, captured], default=to_text))


def _tracker_of(values: Mapping[str, Any], tracker: Mapping[str, Any]) -> TrackerDescription:
    """Give what a run's description says of a tracker, and in which project this user said it."""
    noted = values.get("stamps", {}).get(tracker["name"], {})
    project = noted.get("project")
    signed = _signed(values["run"], tracker, project)
    is_own = isinstance(project, str) and is_stamped(noted.get("stamp"), *signed)
    return TrackerDescription(**tracker, project=project if is_own else None)


def _stamp_of(run: Mapping[str, Any], tracker: Mapping[str, Any], project: str) -> str:
    return stamp_of(*_signed(run, tracker, project))


def _signed(run: Mapping[str, Any], tracker: Mapping[str, Any], project: Any) -> tuple[str, ...]:
    """Give what is stamped of a tracker of a run: all that is written of both, and where."""
    return ("run", json.dumps([run, tracker, project], default=to_text))


def _check_names(folder: Path, run: Run, trackers: Sequence[TrackerDescription]) -> None:
    """Refuse what would lead out of the folder; the file may come from elsewhere.

    Raises:
        ValueError: It does, or it says what no description does.
    """
    if not all(isinstance(dict(tracker.table)["flavor"], str) for tracker in trackers):
        raise ValueError(f"{folder / _FILE}: names no flavor")
    names = [tracker.folder for tracker in trackers]
    names += [run.parent_id] if run.parent_id is not None else []
    is_own = run.id == folder.name
    if any(place.is_symlink() for place in (folder, *(folder / t.folder for t in trackers))):
        raise ValueError(f"{folder}: a link leads outside")
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
    """Give what the store keeps of a run's trackers: their flavors and URLs, by name.

    Args:
        flavors: The flavors, by the trackers' names.
        urls: The URLs that are known, likewise.
    """
    metadata = {f"experiment_tracker.{name}": flavor for name, flavor in flavors.items()}
    metadata |= {f"experiment_tracker_url.{name}": url for name, url in urls.items()}
    if urls:
        metadata["experiment_tracker_url"] = next(iter(urls.values()))
    return metadata
