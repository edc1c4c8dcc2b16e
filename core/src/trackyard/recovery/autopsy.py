"""How did a run end whose process is dead, and who writes that down?"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from trackyard.console.logged import log_console
from trackyard.contract.records import Failure
from trackyard.journal.ending import (
    RECOVERY,
    End,
    end_as_said,
    find_end,
    has_entry_of,
    is_of_recovery,
    last_timestamp,
    said_status,
    search_end,
)
from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader, is_alive, latest_session, writers_in
from trackyard.journal.writer import JournalWriter
from trackyard.system.locks import exclusively


def was_found_dead(end: End) -> bool:
    """Tell whether the run's own process did not write its end."""
    return is_of_recovery(end.writer)


def find_or_write_end(folder: Path) -> End | None:
    """Give the run's end; where there is none write it, which one of several processes does.

    Args:
        folder: The run's folder.

    Returns:
        None where the run has come to life meanwhile.
    """
    with exclusively(folder / "recovery.lock"):
        end = find_end(folder)
        if end is None and not is_alive(folder):
            end = search_end(folder) or _write_end(folder)
        return end


def _write_end(folder: Path) -> End:
    told, last_sign_of_life = _last_words(folder)
    failure = end_as_said(said_status(folder), cause_of_death(told))
    # It ended with its last entry, not when it was found dead.
    return _write_end_as(folder, failure, last_sign_of_life)


def _write_end_as(folder: Path, failure: Failure | None, ended_at: int) -> End:
    entry = Entry("end", ended_at, None, failure)
    writer = JournalWriter(folder, RECOVERY, session=latest_session(folder))
    log_console(folder, writer.blobs, writer.append)
    writer.end(entry)
    return End(writer.name, entry)


def end_as(folder: Path, failure: Failure | None) -> bool:
    """End a run that has no end as somebody says; False where it has one.

    Args:
        folder: The run's folder.
        failure: Why it did not finish, or None.
    """
    with exclusively(folder / "recovery.lock"):
        if search_end(folder) is not None:
            return False
        _write_end_as(folder, failure, last_timestamp(folder))
        return True


def cause_of_death(told: int | None) -> Failure:
    """Say why a run ended whose process left no word.

    Args:
        told: The signal that told the process to stop before, if one did.
    """
    if told is None:
        text = "its process ended without a word (kill -9, out of memory, os._exit, power)"
        return Failure("crashed", "Crashed", text)
    name = signal.Signals(told).name
    text = "the process was told to stop, and killed before it had"
    return Failure("killed", name, text, signal=told)


def _last_words(folder: Path) -> tuple[int | None, int]:
    """Give the last signal that told the run to stop, and the time of the last entry.

    A process that was killed has mostly left no signal. Then its journal is not decoded, which
    takes seconds for each million of entries.
    """
    told, last = None, last_timestamp(folder)
    writers = writers_in(folder, latest_session(folder))
    if not last or has_entry_of(folder, ("signal",), writers):
        reader = JournalReader(folder, wants=writers.__contains__)
        while entries := reader.read(1000):
            for _, entry in entries:
                last = max(last, entry.timestamp)
                if entry.kind == "signal":
                    told = int(entry.data["number"])
    return told, last or time.time_ns()
