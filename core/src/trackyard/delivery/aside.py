"""Which records has a tracker not taken, though others went past them?

They stand in `aside.jsonl` in the tracker's folder of the run, a log of lines: a record with what
the tracker said, the number under which it is tried again, and that it was taken. Those that it
refused for good stand in `quarantine.jsonl`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.context import Context
from trackyard.contract.records import Artifact, Metric, Param, Record, Tag
from trackyard.delivery.state import DeliveryState, plain_record, quarantine
from trackyard.hooks.dispatch import Outcome
from trackyard.system.files import append_private, read_whole

logger = logging.getLogger("trackyard")

ASIDE, QUARANTINE = "aside.jsonl", "quarantine.jsonl"
_KINDS: dict[str, type[Record]] = {
    "metric": Metric,
    "param": Param,
    "tag": Tag,
    "artifact": Artifact,
    "context": Context,
}


@attrs.define(eq=False)
class Waiting:
    """A record that is tried again.

    Attributes:
        id: Its place among those of this run and tracker.
        record: The record, as it is sent.
        origin: Its number when it was passed by.
        number: The number under which it is being tried, or 0.
        tries: How often it was tried in this process.
    """

    id: int
    record: Record
    origin: int = 0
    number: int = 0
    tries: int = 0


class Aside:
    """The records of one run that wait for a tracker while others go past them.

    Args:
        folder: The tracker's folder of the run.
        state: Where their number is counted.
    """

    def __init__(self, folder: Path, state: DeliveryState) -> None:
        self.folder = folder
        self._path = folder / ASIDE
        self._state = state
        self._last = 0
        self.waiting = self._read()
        state.apart = len(self.waiting)

    def add(self, record: Record, origin: int, reason: str) -> bool:
        """Set a record apart; False where the disk does not take it: it must not be passed then.

        Args:
            record: The record.
            origin: Its number.
            reason: What the tracker said.
        """
        new = Waiting(self._last + 1, record, origin)
        line = {"id": new.id, "origin": origin, **described(record), "reason": reason}
        if not self._append(line):
            return False
        self._last = new.id
        self.waiting.append(new)
        self._state.apart += 1
        return True

    def number(self, waiting: Waiting, number: int) -> bool:
        """Note under which number a record is about to be tried; 0 where it was not taken.

        Args:
            waiting: The record.
            number: The number, which no other record gets before the outcome is known.
        """
        waiting.number = number
        return self._append({"id": waiting.id, "number": number})

    def settle(self, waiting: Waiting) -> None:
        """Note that the tracker has taken a record, or has refused it for good."""
        self.waiting.remove(waiting)
        self._state.apart -= 1
        if self.waiting:
            self._append({"id": waiting.id, "is_settled": True})
        else:
            self._path.unlink(missing_ok=True)

    def leave_to_journal(self, number: int) -> None:
        """Forget those behind a number: they are read from the journal once more."""
        for waiting in [one for one in self.waiting if one.origin > number]:
            self.settle(waiting)

    def settle_held(self, held: int) -> Iterator[int]:
        """Settle those that the backend has, whose numbers it gives; the others have none.

        Args:
            held: How far the backend has come.
        """
        for waiting in [one for one in self.waiting if one.number]:
            if waiting.number <= held:
                yield waiting.number
                self._state.delivered += 1
                self.settle(waiting)
            else:
                self.number(waiting, 0)

    def put_last(self, waiting: Waiting) -> None:
        """Try the others before this one the next time."""
        self.waiting.remove(waiting)
        self.waiting.append(waiting)

    def clear(self) -> None:
        """Forget all of them: the journal is sent from its first record."""
        self.waiting.clear()
        self._state.apart = 0
        self._path.unlink(missing_ok=True)
        self._path.with_name(QUARANTINE).unlink(missing_ok=True)

    def _append(self, line: dict[str, Any]) -> bool:
        try:
            # The newline comes first, too: a line that a full disk has torn spoils no other.
            append_private(self._path, "\n" + json.dumps(line, default=str) + "\n")
        except OSError as error:
            logger.debug("%s cannot be written: %s", self._path, error)
            return False
        return True

    def _read(self) -> list[Waiting]:
        found: dict[int, Waiting] = {}
        for line in lines_of(self._path):
            id_ = line.get("id", 0)
            self._last = max(self._last, id_)
            if line.get("is_settled"):
                found.pop(id_, None)
            elif "record" not in line and id_ in found:
                found[id_].number = line.get("number", 0)
            elif (record := record_in(line, self._path.parent)) is not None:
                found[id_] = Waiting(id_, record, line.get("origin", 0))
        return list(found.values())


def take_back(folder: Path, state: DeliveryState) -> int:
    """Have what a tracker refused for good sent once more; give how many records that is.

    Args:
        folder: The tracker's folder of the run.
        state: The state of the delivery, which then has to be saved.
    """
    aside, path = Aside(folder, state), folder / QUARANTINE
    for line in lines_of(path):
        record = record_in(line, folder)
        if record is None or not aside.add(record, 0, str(line.get("reason", ""))):
            return 0
    path.unlink(missing_ok=True)
    state.quarantined = state.accepted = 0
    if aside.waiting:
        state.is_ended = False  # its end follows once more
    return len(aside.waiting)


def put_aside(
    tracker: str, state: DeliveryState, folder: Path, record: Record, reason: str
) -> None:
    """Quarantine a record that a tracker will never take, and say so.

    Args:
        tracker: The tracker's name.
        state: Where it is counted.
        folder: The tracker's folder of the run.
        record: The record.
        reason: What the tracker said.
    """
    state.quarantined += 1
    quarantine(folder, record, reason)
    _say(tracker, folder, record, "refused", reason)


def count_refused(tracker: str, state: DeliveryState, folder: Path, outcome: Outcome) -> Outcome:
    """Quarantine what a backend refused of the native calls that a hook forwards.

    Args:
        tracker: The tracker's name.
        state: Where it is counted.
        folder: The tracker's folder of the run.
        outcome: What came of the hook; where it names records the hook has done all the rest.

    Returns:
        The outcome without them.
    """
    if outcome.kind != "rejected":
        return outcome
    for record in outcome.records:
        put_aside(tracker, state, folder, record, outcome.reason)
    return Outcome()


def say_passed(tracker: str, folder: Path, record: Record, reason: str) -> None:
    """Say that a record waits, and that the others go past it.

    Args:
        tracker: The tracker's name.
        folder: The tracker's folder of the run.
        record: The record.
        reason: What the tracker said.
    """
    _say(tracker, folder, record, "has not taken, and is sent later,", reason)


def _say(tracker: str, folder: Path, record: Record, what: str, reason: str) -> None:
    """Say it of the first record alone that this happens to for this reason."""
    key = str(getattr(record, "key", getattr(record, "name", "")))
    matter = re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "", reason.replace(key, "") if key else reason)
    # Others like it are counted: `runs show`, `doctor` and the closing lines tell how many.
    _say_once(tracker, str(folder), what, matter, _Said(type(record).__name__.lower(), key, reason))


@attrs.frozen
class _Said:
    """What is said of the first record; all are equal, since only the matter counts."""

    kind: str = attrs.field(eq=False)
    key: str = attrs.field(eq=False)
    reason: str = attrs.field(eq=False)


@lru_cache(maxsize=1024)
def _say_once(tracker: str, folder: str, what: str, matter: str, said: _Said) -> None:  # noqa: ARG001 - they are the cache's key
    logger.warning(
        "experiment tracker %r %s %s %r: %s", tracker, what, said.kind, said.key, said.reason
    )


def described(record: Record) -> dict[str, Any]:
    """Write a record as `record_in` reads it."""
    return {"kind": type(record).__name__.lower(), "record": plain_record(record)}


def record_in(line: dict[str, Any], folder: Path) -> Record | None:
    """Read a record; None where there is none.

    Args:
        line: A line of a file.
        folder: The tracker's folder of the run, which may have been moved since.
    """
    values = line.get("record")
    if not isinstance(values, dict):
        return None
    kind = _KINDS.get(line.get("kind", ""))
    if kind is None:  # 0.1 did not write it
        kinds = {"path": Artifact, "timestamp": Metric, "key": Param}
        kind = next((kind for name, kind in kinds.items() if name in values), None)
    try:
        if "path" in values:
            values = {**values, "path": _moved(Path(values["path"]), folder)}
        if kind is Context:
            return Context.from_plain(values)
        return kind(**values) if kind is not None else None
    except (TypeError, ValueError):
        return None


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a file that are whole; none where there is no file."""
    try:
        texts = read_whole(path).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    lines = []
    for text in texts:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue  # empty, or torn
    return [line for line in lines if isinstance(line, dict)]


def _moved(path: Path, folder: Path) -> Path:
    """Give where a file of the run lies now: its project may have been moved, or copied."""
    run_folder = folder.parent
    if run_folder.name in path.parts:
        start = len(path.parts) - 1 - path.parts[::-1].index(run_folder.name)
        return run_folder.joinpath(*path.parts[start + 1 :])
    return path
