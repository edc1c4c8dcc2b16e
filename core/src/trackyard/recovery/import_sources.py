"""What does SOURCE of `trackyard import SOURCE` mean, and which plugin reads it?"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.contract.importing import RemoteRun, RunQuery
from trackyard.contract.records import Run
from trackyard.hooks.discovery import FLAVORS, find_plugins, load_plugins
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.hooks.known import known_flavors
from trackyard.hooks.rules import implemented_hooks
from trackyard.project.configuration import Project
from trackyard.project.trackers import Tracker, Trackers
from trackyard.recovery.archives import Archive
from trackyard.recovery.imported_runs import Piece, id_of_run
from trackyard.recovery.plain_tables import Tables
from trackyard.redaction.redactor import Redactor, without_credentials
from trackyard.system.suggestions import did_you_mean, listed

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Reader(Protocol):
    """Who lists and reads the runs of a source."""

    def list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs.

        Args:
            query: Which runs.
        """

    def read_remote_run(self, run: Run, remote_id: str) -> Iterator[Piece]:
        """Read one of them.

        Args:
            run: With the folder for what is unpacked or downloaded.
            remote_id: Its id there.
        """


# What Trackyard reads itself, by the word before the colon.
_OWN: dict[str, Callable[[str], Reader]] = {"archive": Archive, "csv": Tables}


@attrs.frozen
class Source:
    """Where runs are imported from.

    Attributes:
        name: As it was typed, without credentials.
        flavor: Who reads it.
        place: What stood behind the colon; None for what a configured tracker leads to.
        redactor: Knows the secrets of the tracker that it is.
        reader: The one instance that lists and reads.
    """

    name: str
    flavor: str
    place: str | None
    redactor: Redactor
    reader: Reader


def open_source(project: Project, text: str) -> Source:
    """Find who reads a source; nothing of it is read for this.

    Args:
        project: The project, whose trackers are sources, too.
        text: The name of a configured tracker, or `flavor:place`.

    Raises:
        ConfigError: It is neither, or the flavor cannot list runs.
    """
    trackers = Trackers(project)
    name, colon, place = text.partition(":")
    if text in trackers.configured:
        (tracker,) = trackers.select(text)
        return _source(tracker, text, None)
    if not colon:
        raise ConfigError(_unknown(text, [*trackers.configured]))
    if name in _OWN and place:
        return Source(text, name, place, Redactor(), _OWN[name](_absolute(place)))
    flavors = {*_OWN} | {info.name for info in find_plugins(FLAVORS) if not info.is_blocked}
    if name not in flavors:
        known = known_flavors().get(name)
        if known is not None:
            raise ConfigError(f"{text}: type: pip install {known.distribution}")
        hint = did_you_mean(name, flavors) or f"; installed are {listed(sorted(flavors))}"
        raise ConfigError(f"{text}: no flavor {name!r} is installed{hint}")
    if not place:
        raise ConfigError(f"{text}: say where, such as {name}:./runs")
    # What is typed decides all that there is: no table of the project is laid over it.
    tracker = trackers.build(name, {"flavor": name}, f"import {name}")
    return _source(tracker, text, _absolute(place))


@contextmanager
def read_remote(source: Source, remote: RemoteRun) -> Iterator[Iterator[Piece]]:
    """Read a run of a source; what is downloaded or unpacked for it is deleted afterwards.

    Args:
        source: The source.
        remote: The run.
    """
    with tempfile.TemporaryDirectory(prefix="trackyard-import-") as scratch:
        run = Run(
            id=id_of_run(source.flavor, remote),
            name=remote.name or remote.remote_id,
            experiment=remote.experiment or "default",
            started_at=remote.started_at or 0,
            folder=Path(scratch),
            attached=True,
        )
        yield source.reader.read_remote_run(run, remote.remote_id)


def _source(tracker: Tracker, text: str, place: str | None) -> Source:
    flavor = tracker.options.flavor
    if "tracker_list_runs" not in implemented_hooks(tracker.flavor):
        able = listed(sorted(_able()))
        raise ConfigError(f"{text}: flavor {flavor!r} cannot list runs; those that can are {able}")
    hooks = TrackerHooks.of(tracker, load_plugins()[0])
    return Source(without_credentials(text), flavor, place, tracker.redactor, hooks)


def _able() -> list[str]:
    from trackyard.contract.errors import PluginError
    from trackyard.hooks.discovery import load_flavor

    able = []
    for info in find_plugins(FLAVORS):
        try:
            if "tracker_list_runs" in implemented_hooks(load_flavor(info.name)):
                able.append(info.name)
        except PluginError:  # said where it is used
            continue
    return able


def _absolute(place: str) -> str:
    """Let a path begin at the working directory, wherever it is read; the rest stays as it is."""
    if _URL.match(place) or not Path(place).expanduser().exists():
        return place
    return str(Path(place).expanduser().absolute())


def _unknown(text: str, configured: list[str]) -> str:
    hint = did_you_mean(text, configured)
    known = f"; configured are {listed(configured)}" if configured and not hint else ""
    example = "for a folder, file or address type FLAVOR:PLACE"
    return f"no experiment tracker {text!r} is configured{hint or known}; {example}"
