"""What does a run's journal come to, without its points?

When a run has ended its summary lies beside the journal, so that looking at it, listing it and
making the store anew read no points. It holds for the files as they were then: where one has grown
the journal is read again.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.context import Context
from trackyard.contract.errors import NewerFormatError
from trackyard.contract.records import Failure
from trackyard.journal.children import as_counted, prefix_of
from trackyard.journal.descriptions import RunDescription
from trackyard.journal.ending import read_status
from trackyard.journal.entries import Entry, dropped_in
from trackyard.journal.points import Histories, Points
from trackyard.journal.reader import JournalReader
from trackyard.journal.tallies import Tally
from trackyard.system.files import write_whole

logger = logging.getLogger("trackyard")

FORMAT = 1
# So many bytes of journals are read where a run ends, 10,000 points about; else who looks does so.
READ_AT_END = 1024 * 1024
_FILE, _PART = "summary.json", "summary.part.json"
# After so many bytes what is summed up so far is kept: to read them takes a tenth of a second.
_KEPT_EVERY = 16 * 1024 * 1024
# Bytes of an entry.
_USUAL = 100


@attrs.frozen
class Summary:
    """What was logged in a run and counts, by the journal.

    Attributes:
        params, tags: The last value by key, as JSON has it.
        metrics: By key what `Tally.plain` gives.
        artifacts: Of each `name`, `kind`, `media_type`, `size`, `sha256`, `step`, `logged_at`, in
            the order of logging.
        context: Where the run comes from, as JSON has it, or None.
        status, ended_at: As in the journal; `running` and None while it goes on.
        failure: Why it did not finish, as JSON has it, or None.
        lost: How many log calls were lost.
        is_whole: The journal was read; else it says how the run ended, and nothing more.
    """

    params: Mapping[str, Any] = attrs.field(factory=dict)
    tags: Mapping[str, str] = attrs.field(factory=dict)
    metrics: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    artifacts: tuple[Mapping[str, Any], ...] = ()
    context: Mapping[str, Any] | None = None
    status: str = "running"
    ended_at: int | None = None
    failure: Mapping[str, Any] | None = None
    lost: int = 0
    is_whole: bool = True

    @property
    def error(self) -> str | None:
        """The class and message of what ended the run, or None."""
        return str(Failure(**self.failure)) if self.failure else None

    def plain(self, last: Mapping[str, float] | None = None) -> dict[str, Any]:
        """Give it as JSON has it.

        Args:
            last: The last values that are known by other ways than the journal, by metric: they
                count where it could not take one.
        """
        found = attrs.asdict(self, recurse=False)
        known = {
            key: {"points": 0, "last": value, "least": value, "greatest": value}
            for key, value in (last or {}).items()
        }
        return {**found, "metrics": {**known, **self.metrics}}


class Summing:
    """Sums up a run's journal while it is written, and reads each part of it once.

    What is summed up of a long one is kept beside it, so that who comes next reads on from there.

    Args:
        folder: The run's folder.
        description: What is written down there of the run; None where that is gone.
    """

    def __init__(self, folder: Path, description: RunDescription | None) -> None:
        self._folder = folder
        self._all_ranks = description is not None and description.counts_all_ranks
        self._params: dict[str, Any] = {}
        self._tags: dict[str, str] = dict(description.run.tags) if description else {}
        self._tallies: dict[str, Tally] = {}
        self._artifacts: list[Mapping[str, Any]] = []
        self._context: Context | None = None
        self._dropped = self._lost = 0
        self._unkept = 0  # bytes, roughly
        self._reader = JournalReader(folder)
        self._go_on_from(_load(folder / _PART))

    def read_on(self, most: int | None = None) -> int:
        """Read what was written since, and give how many bytes that was, roughly.

        Args:
            most: So many at most.

        Raises:
            NewerFormatError: A newer Trackyard wrote it.
        """
        read = 0
        for writer, block in self._reader.read_blocks():
            prefix = prefix_of(writer, all_ranks=self._all_ranks)
            if not isinstance(block, list):
                if prefix is not None:
                    self._add_points(prefix, block)
                size = block.size
            else:
                for entry in block:
                    self._add(entry, writer)
                size = _USUAL * len(block)
            read, self._unkept = read + size, self._unkept + size
            if self._unkept >= _KEPT_EVERY:
                self._keep()
            if most is not None and read >= most:
                break
        return read

    def summary(self) -> Summary:
        """Give what the journal comes to, as far as it was read."""
        status, end = read_status(self._folder)
        return Summary(
            params=self._params,
            tags=self._tags,
            metrics={key: tally.plain() for key, tally in self._tallies.items()},
            artifacts=tuple(self._artifacts),
            context=self._context.plain() if self._context else None,
            status=status,
            ended_at=end.timestamp if end else None,
            failure=attrs.asdict(end.data) if end and end.data else None,
            lost=self._lost + self._reader.lost + self._dropped,
        )

    def _add_points(self, prefix: str, points: Points | Histories) -> None:
        for column in points.columns():
            self._tally(prefix + column.key).extend(*column[1:])

    def _add(self, written: Entry, writer: str) -> None:
        self._dropped += dropped_in(written)
        entry = as_counted(written, writer, all_ranks=self._all_ranks)
        if entry is None:
            return
        match entry.kind:
            case "metrics":
                for key, value in entry.data.items():
                    self._tally(key).add(entry.step, value, entry.timestamp)
            case "params":
                self._params |= entry.data
            case "tags":
                self._tags |= {key: str(value) for key, value in entry.data.items()}
            case "artifact":
                self._artifacts.append(_of_artifact(entry))
            case "context":
                known = Context.from_plain(entry.data)
                self._context = (self._context or Context()).updated(known)

    def _tally(self, key: str) -> Tally:
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
        return tally

    def _keep(self) -> None:
        """Keep how far this is, and what it has come to."""
        self._unkept = 0
        state = {
            "format": FORMAT,
            "all_ranks": self._all_ranks,
            "places": self._reader.places(),
            "lost": self._lost + self._reader.lost,
            "dropped": self._dropped,
            "params": self._params,
            "tags": self._tags,
            "artifacts": self._artifacts,
            "context": self._context.plain() if self._context else None,
            "tallies": {key: tally.state() for key, tally in self._tallies.items()},
        }
        try:
            write_whole(self._folder / _PART, json.dumps(state))
        except (OSError, ValueError, TypeError) as error:
            logger.debug("%s cannot be written: %s", self._folder / _PART, error)

    def _go_on_from(self, state: Mapping[str, Any] | None) -> None:
        """Take over what was kept, unless it is of other files, or of another rule of ranks."""
        if state is None or state.get("format") != FORMAT:
            return
        try:
            tallies = {key: Tally.of_state(kept) for key, kept in state["tallies"].items()}
            context = Context.from_plain(state["context"]) if state["context"] else None
            if state["all_ranks"] != self._all_ranks or not _are_there(self._folder, state):
                return
            self._reader.go_to(state["places"])
            self._lost, self._dropped = state["lost"], state["dropped"]
            self._params, self._tags = dict(state["params"]), dict(state["tags"])
            self._artifacts = list(state["artifacts"])
            self._tallies, self._context = tallies, context
        except (KeyError, TypeError, ValueError, AttributeError):
            logger.debug("%s is damaged", self._folder / _PART)


def summarise(folder: Path, description: RunDescription | None) -> Summary:
    """Sum up a run's journal: from its beginning, or from where somebody left it.

    Args:
        folder: The run's folder.
        description: What is written down there of the run; None where that is gone.
    """
    summing = Summing(folder, description)
    summing.read_on()
    return summing.summary()


def summarise_at_end(folder: Path, description: RunDescription, failure: Failure | None) -> Summary:
    """Summarise a run that has just ended, and keep that, unless its journal is too long for it.

    It never raises: a run's end must not fail for its summary.

    Args:
        folder: The run's folder.
        description: What is written down there of the run.
        failure: Why it did not finish, or None.
    """
    try:
        if journal_size(folder) <= READ_AT_END:
            return keep_summary(folder, summarise(folder, description))
    except Exception as error:
        logger.debug("%s cannot be summarised: %s", folder, error)
    return Summary(
        status=failure.status if failure else "finished",
        ended_at=time.time_ns(),
        failure=attrs.asdict(failure) if failure else None,
        is_whole=False,
    )


def keep_summary(folder: Path, summary: Summary) -> Summary:
    """Write a summary beside its journal, if the run has ended, and give it.

    Args:
        folder: The run's folder.
        summary: Of the journal as it is now.
    """
    if summary.status == "running":
        return summary
    whole = {"format": FORMAT, "files": _sizes(folder), "summary": summary.plain()}
    try:
        write_whole(folder / _FILE, json.dumps(whole))
        (folder / _PART).unlink(missing_ok=True)
    except (OSError, ValueError, TypeError) as error:
        logger.debug("%s cannot be written: %s", folder / _FILE, error)
    return summary


def kept_summary(folder: Path) -> Summary | None:
    """Give the summary that lies beside a journal; None where none does that still holds."""
    try:
        whole = json.loads((folder / _FILE).read_bytes())
        if whole["format"] != FORMAT or whole["files"] != _sizes(folder):
            return None
        values = whole["summary"]
        return Summary(**{**values, "artifacts": tuple(values["artifacts"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def journal_size(folder: Path) -> int:
    """Give the bytes of a run's journal.

    Args:
        folder: The run's folder.
    """
    return sum(_sizes(folder).values())


def is_soon_summed_up(folder: Path) -> bool:
    """Tell whether somebody who looks may wait until a run's journal is summed up.

    Args:
        folder: The run's folder.
    """
    names = (_FILE, _PART)
    return any((folder / name).exists() for name in names) or journal_size(folder) <= _KEPT_EVERY


def summary_of_folder(
    folder: Path, load: Callable[[Path], RunDescription | None]
) -> tuple[RunDescription | None, Summary | None]:
    """Give a run's description and summary, by what lies beside its journal or by reading it.

    Args:
        folder: The run's folder.
        load: Reads its description.
    """
    try:
        description = load(folder)
        summary = kept_summary(folder)
        return description, summary or keep_summary(folder, summarise(folder, description))
    except NewerFormatError:
        return None, None


def _load(file: Path) -> Mapping[str, Any] | None:
    try:
        loaded = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _are_there(folder: Path, state: Mapping[str, Any]) -> bool:
    """Tell whether the files are there in which somebody has read, and are as long."""
    sizes = _sizes(folder)
    return all(
        sizes.get(f"{writer}.{segment:06d}.tyj", -1) >= offset
        for writer, (segment, offset, *_) in state["places"].items()
    )


def _of_artifact(entry: Entry) -> dict[str, Any]:
    artifact = entry.data
    return {
        "name": artifact.name,
        "kind": artifact.kind,
        "media_type": artifact.media_type,
        "size": artifact.path.stat().st_size,
        "sha256": artifact.path.parent.name,
        "step": artifact.step,
        "logged_at": artifact.timestamp,
    }


def _sizes(folder: Path) -> dict[str, int]:
    """Give the sizes of a journal's files, or of those that are left where it is deleted."""
    sizes: dict[str, int] = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".tyj"):
                sizes[entry.name] = entry.stat().st_size
    return sizes
