"""What is kept on disk of a run's delivery to one tracker, so that another process can go on?"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.context import Context
from trackyard.contract.errors import refuse_newer
from trackyard.contract.records import Record
from trackyard.journal.ending import find_end, is_of_recovery, last_sequences
from trackyard.journal.entries import Entry, Holder
from trackyard.journal.reader import latest_session
from trackyard.journal.sessions import session_of
from trackyard.system.files import append_private, read_whole, write_whole

logger = logging.getLogger("trackyard")

# Of what lies in a tracker's folder of a run, but for what its flavor writes there. 4: of one that
# was resumed; others have 3.
FORMAT = 4
_FILE = "delivery.json"


@attrs.define
class DeliveryState:
    """How far the delivery of one run to one tracker has come.

    Attributes:
        cursor: For each writer of the journal the last sequence number that the tracker has.
        number: How many records that is, as they are counted for the tracker.
        plan: What is being sent: writers and last sequence numbers, in their order. It is noted
            for a backend that keeps a cursor, so that the same records get the same numbers again.
        is_ended: The tracker has the run's end, and everything that was written until then.
        is_end_sent: It has the end, and perhaps not all records.
        session: The session of the run whose end these two speak of: they are false once it was
            resumed.
        all_ranks: It gets what children of a rank above 0 log, too.
        is_kept_offline: Its SDK keeps the run on this machine until `tracker_sync_run`.
        url: The run's address, if it is known.
        remote_id: The backend's own id of the run, as soon as it was started.
        anew_at: When the run was last made anew there, in nanoseconds since the epoch: what was
            there before is sent once more.
        logs_natively: Calls of the tracker's own SDK have logged in the run.
        delivered, native, quarantined: Numbers of records: those that were sent, those that calls
            of its SDK had put there, those that it refused.
        apart: How many records wait while others go past them (`aside`).
        accepted: How much of what is pending, quarantined or lost somebody has accepted.
        deleted: What the tracker says of the run's deletion there, or an empty text.
        lost: How many entries of the journal were damaged or never written, up to the cursor.
        abandoned: Hooks that hung, and whose thread was left alone or whose process was killed.
        changes: What had to be changed for the backend, with how often.
        problem: The last error as one line, or an empty text.
    """

    cursor: dict[str, int] = attrs.field(factory=dict)
    number: int = 0
    plan: list[tuple[str, int]] = attrs.field(factory=list)
    is_ended: bool = False
    is_end_sent: bool = False
    session: int = 0
    all_ranks: bool = False
    is_kept_offline: bool = False
    url: str | None = None
    remote_id: str = ""
    anew_at: int = 0
    logs_natively: bool = False
    delivered: int = 0
    native: int = 0
    quarantined: int = 0
    apart: int = 0
    accepted: int = 0
    deleted: str = ""
    lost: int = 0
    abandoned: int = 0
    changes: dict[str, int] = attrs.field(factory=dict)
    problem: str = ""

    def is_put_there(self, holder: Holder | None, tracker: str) -> bool:
        """Tell whether calls of the tracker's own SDK have put an entry into this very run.

        Args:
            holder: Where the entry's records are already.
            tracker: The tracker's name.
        """
        return (
            holder is not None
            and holder.source == tracker
            and holder.remote_id == self.remote_id
            and holder.captured_at >= self.anew_at
        )

    def is_of_another_sdk(self, holder: Holder | None, tracker: str) -> bool:
        """Tell whether an entry is left out since another SDK has logged it.

        Code that calls the tracker's own SDK, too, logs everything to both.

        Args:
            holder: Where the entry's records are already.
            tracker: The tracker's name.
        """
        return holder is not None and holder.source != tracker and self.logs_natively

    @property
    def is_end_of_recovery(self) -> bool:
        """Tell whether the tracker's end is not that of the run's own process.

        That one was taken for dead. Where it lived it may have written more, and an end of its own.
        The cursor passes no other end than recovery's.
        """
        return any(
            is_of_recovery(writer) and session_of(writer) == self.session for writer in self.cursor
        )

    def go_to(self, session: int) -> None:
        """Take account of the run's latest session: the tracker has the end of no other one.

        Args:
            session: Its number.
        """
        if session > self.session:
            self.session = session
            self.is_ended = self.is_end_sent = False


def load_state(folder: Path) -> DeliveryState:
    """Read the state in a tracker's folder; one that is missing or torn means from the start.

    Sending again what the tracker has already changes nothing there. Of a run that was resumed
    since, the tracker has no end.

    Raises:
        NewerFormatError: A newer Trackyard wrote it.
    """
    try:
        values: dict[str, Any] = json.loads(read_whole(folder / _FILE))
        refuse_newer(folder / _FILE, values.get("format", 1), FORMAT)  # 0.1 wrote none
        known = {field.name for field in attrs.fields(DeliveryState)}
        state = DeliveryState(**{key: value for key, value in values.items() if key in known})
        state.plan = [(str(writer), int(last)) for writer, last in state.plan]
    except (OSError, ValueError, TypeError, AttributeError):
        state = DeliveryState()
    state.go_to(latest_session(folder.parent))
    return state


def save_state(folder: Path, state: DeliveryState) -> None:
    """Write the state, whole or not at all. A full disk costs a repetition, nothing else.

    Args:
        folder: The tracker's folder in the run's.
        state: The state.
    """
    target, values = folder / _FILE, attrs.asdict(state)
    number = FORMAT if values["session"] else 3
    if not values["session"]:
        del values["session"]
    try:
        write_whole(target, json.dumps({"format": number, **values}))
    except OSError as error:
        logger.debug("%s cannot be written: %s", target, error)


def note_hang(folder: Path) -> None:
    """Count one more hook that hung, for the process that was killed with it."""
    state = load_state(folder)
    state.abandoned += 1
    save_state(folder, state)


def plain_record(record: Record) -> dict[str, Any]:
    """Give a record as JSON has it."""
    if isinstance(record, Context):
        return record.plain()
    # What older versions do not know of artifacts changes nothing for one that is sent later.
    return attrs.asdict(record, filter=lambda field, _: field.name != "is_final")


def quarantine(folder: Path, record: Any, reason: str) -> None:
    """Keep a record that the tracker refused, and why, one line of JSON each.

    Args:
        folder: The tracker's folder in the run's.
        record: The record.
        reason: Why it was refused.
    """
    kind = type(record).__name__.lower()
    values = {"kind": kind, "record": plain_record(record), "reason": reason}
    line = json.dumps(values, default=str)
    try:
        append_private(folder / "quarantine.jsonl", line + "\n")
    except OSError as error:
        logger.debug("%s cannot be written: %s", folder / "quarantine.jsonl", error)


def pass_end_of_recovery(state: DeliveryState, folder: Path, end: Entry) -> None:
    """Let the cursor pass an end that recovery wrote: the run's own may still come.

    Args:
        state: That of the delivery.
        folder: The run's.
        end: The end that the tracker has.
    """
    for writer in [writer for writer in state.cursor if is_of_recovery(writer)]:
        if session_of(writer) == state.session:
            del state.cursor[writer]
    found = find_end(folder)
    if found is not None and is_of_recovery(found.writer) and found.entry == end:
        state.cursor[found.writer] = last_sequences(folder)[found.writer]
