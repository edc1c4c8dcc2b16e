"""How did a run end whose process is dead, and who writes that down?"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import NamedTuple

from trackyard.contract.records import Failure
from trackyard.journal.ending import has_entry_of, last_timestamp
from trackyard.journal.entries import Entry
from trackyard.journal.reader import JournalReader, is_alive
from trackyard.journal.writer import JournalWriter
from trackyard.system.locks import exclusively

# How the names of the files begin to which recovery writes.
_ROLE = "recovery"


class End(NamedTuple):
    """The end of a run and who wrote it: the run's own process, or recovery."""

    writer: str
    entry: Entry

    @property
    def was_found_dead(self) -> bool:
        """Tell whether the run's own process did not write it."""
        return self.writer.startswith(_ROLE)


def find_or_write_end(folder: Path) -> End | None:
    """Give the run's end; where there is none write it, which one of several processes does.

    Args:
        folder: The run's folder.

    Returns:
        None where the run has come to life meanwhile.
    """
    with exclusively(folder / "recovery.lock"):
        end, last_sign_of_life, told = _find_end(folder)
        if end is None and not is_alive(folder):
            # It ended with its last entry, not when it was found dead.
            entry = Entry("end", last_sign_of_life, None, cause_of_death(told))
            writer = JournalWriter(folder, _ROLE)
            writer.append_end(entry)
            writer.close()
            end = End(writer.name, entry)
        return end


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


def _find_end(folder: Path) -> tuple[End | None, int, int | None]:
    """Give the end, the time of the last entry, and the last signal that told the run to stop.

    A process that was killed has mostly left neither an end nor a signal. Then its journal is not
    decoded, which takes seconds for each million of entries.
    """
    if not has_entry_of(folder, ("end", "signal", "blob")):
        last = last_timestamp(folder)
        if last:
            return None, last, None
    end, last, told = None, 0, None
    reader = JournalReader(folder)
    while entries := reader.read(1000):
        for position, entry in entries:
            last = max(last, entry.timestamp)
            if entry.kind == "signal":
                told = int(entry.data["number"])
            if entry.kind == "end":
                end = end or End(position.writer, entry)
    return end, last or time.time_ns(), told
