"""Which flavors does a run capture calls of, though they track nothing of it?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.project.trackers import Tracker, Trackers

Sources = str | Sequence[str] | None

# A source has a name that no tracker has: what it gave is held by none of them.
_PREFIX = "capture-"


def select_sources(trackers: Trackers, capture: Sources, place: str = "capture") -> list[Tracker]:
    """Choose the sources of a run.

    Args:
        trackers: The project's trackers.
        capture: Names of flavors, or `FLAVOR=FOLDER` where files of an SDK are read as they grow;
            None for those of the active stack.
        place: Where that is said, for messages.

    Raises:
        ConfigError: One is no flavor, or none that can be a source.
    """
    if capture is None:
        try:
            stack = trackers.stack
        except ConfigError:  # who names trackers needs no stack, and who asks for it is told
            return []
        chosen, place = stack.capture, f"{stack.place}.capture"
        from_folder = trackers.project.root
    else:
        chosen, from_folder = tuple(_texts(capture)), Path.cwd()
    return [_source(trackers, text, place, from_folder) for text in dict.fromkeys(chosen)]


def with_sources(chosen: Iterable[Tracker], sources: Iterable[Tracker]) -> list[Tracker]:
    """Give a run's trackers with its sources, but for those whose calls a tracker captures.

    Args:
        chosen: The trackers.
        sources: The sources.
    """
    trackers = [*chosen]
    captured = {tracker.flavor for tracker in trackers if tracker.options.capture}
    return [*trackers, *(s for s in sources if s.files is not None or s.flavor not in captured)]


def text_of(source: Tracker) -> str:
    """Give a source as `select_sources` takes it.

    Args:
        source: The source.
    """
    flavor = source.options.flavor
    return flavor if source.files is None else f"{flavor}={source.files}"


def _texts(capture: Sources) -> list[str]:
    texts = [capture] if isinstance(capture, str) else capture
    is_list = isinstance(texts, list | tuple | set | frozenset)
    if not is_list or not all(isinstance(text, str) for text in texts or ()):
        raise ConfigError(f"capture: must be the name of a flavor or a list, not {capture!r}")
    return [*(texts or ())]


def _source(trackers: Trackers, text: str, place: str, from_folder: Path) -> Tracker:
    flavor, is_parted, folder = text.partition("=")
    if not flavor or (is_parted and not folder):
        raise ConfigError(f"{place}: {text!r} is no source; write FLAVOR, or FLAVOR=FOLDER")
    files = from_folder / Path(folder).expanduser() if folder else None
    digest = hashlib.sha256(str(files).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    name = f"{_PREFIX}{flavor}" if files is None else f"{_PREFIX}{flavor}-{digest}"
    tracker = trackers.build(name, {"flavor": flavor}, place)
    hooks = TrackerHooks.of(tracker)
    if folder and not hooks.reads_files:
        raise ConfigError(f"{place}: {text!r}: flavor {flavor!r} reads no files; write: {flavor}")
    if not folder and not hooks.captures_alone:
        raise ConfigError(f"{place}: flavor {flavor!r} captures calls as a tracker alone")
    return attrs.evolve(tracker, is_source=True, files=files)
