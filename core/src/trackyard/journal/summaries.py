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
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.context import Context
from trackyard.contract.errors import NewerFormatError
from trackyard.contract.records import Failure
from trackyard.journal.children import as_counted
from trackyard.journal.descriptions import RunDescription
from trackyard.journal.ending import read_status
from trackyard.journal.entries import Entry, dropped_in
from trackyard.journal.reader import JournalReader
from trackyard.journal.tallies import Tally
from trackyard.system.files import write_whole

logger = logging.getLogger("trackyard")

FORMAT = 1
# So many bytes of journals are read where a run ends, 10,000 points about; else who looks does so.
READ_AT_END = 1024 * 1024
_FILE = "summary.json"


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


def summarise(folder: Path, description: RunDescription | None) -> Summary:
    """Read a run's journal from its beginning.

    Args:
        folder: The run's folder.
        description: What is written down there of the run; None where that is gone.
    """
    all_ranks = description is not None and description.counts_all_ranks
    params: dict[str, Any] = {}
    tags: dict[str, str] = dict(description.run.tags) if description else {}
    tallies: dict[str, Tally] = {}
    artifacts: list[Mapping[str, Any]] = []
    context: Context | None = None
    dropped = 0
    reader = JournalReader(folder)
    while entries := reader.read(1000):
        for position, written in entries:
            dropped += dropped_in(written)
            entry = as_counted(written, position.writer, all_ranks=all_ranks)
            match entry.kind if entry else None:
                case "metrics":
                    _add_points(tallies, entry)  # type: ignore[arg-type]
                case "params":
                    params |= entry.data  # type: ignore[union-attr]
                case "tags":
                    tags |= {key: str(value) for key, value in entry.data.items()}  # type: ignore[union-attr]
                case "artifact":
                    artifacts.append(_of_artifact(entry))  # type: ignore[arg-type]
                case "context":
                    known = Context.from_plain(entry.data)  # type: ignore[union-attr]
                    context = (context or Context()).updated(known)
    status, end = read_status(folder)
    return Summary(
        params=params,
        tags=tags,
        metrics={key: tally.plain() for key, tally in tallies.items()},
        artifacts=tuple(artifacts),
        context=context.plain() if context else None,
        status=status,
        ended_at=end.timestamp if end else None,
        failure=attrs.asdict(end.data) if end and end.data else None,
        lost=reader.lost + dropped,
    )


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


def _add_points(tallies: dict[str, Tally], entry: Entry) -> None:
    step, timestamp = entry.step, entry.timestamp
    for key, value in entry.data.items():
        tally = tallies.get(key)
        if tally is None:
            tally = tallies[key] = Tally()
        tally.add(step, value, timestamp)


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
    """Give the sizes of a journal's files."""
    with os.scandir(folder) as entries:
        return {e.name: e.stat().st_size for e in entries if e.name.endswith(".tyj")}
