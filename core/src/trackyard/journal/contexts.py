"""Where does a run come from, by its journal?"""

from __future__ import annotations

from pathlib import Path

from trackyard.contract.context import Context
from trackyard.journal.reader import JournalReader, writers_in

# The context goes before other entries; what became known of it later is read with them.
_FIRST = 3
# The file of a run with what was changed since its commit; some trackers do not get it.
DIFF = "git.diff"


def first_context(folder: Path) -> Context | None:
    """Read what was known of a run's context at its start; None where nothing was collected.

    Args:
        folder: The run's folder.
    """
    found: Context | None = None
    for writer in writers_in(folder):
        for _, entry in JournalReader(folder, wants=writer.__eq__).read(_FIRST):
            if entry.kind == "context":
                found = (found or Context()).updated(Context.from_plain(entry.data))
    return found


def context_and_tags(folder: Path) -> tuple[Context, dict[str, str]]:
    """Read all that became known of a run's context, and the tags that it logged.

    Args:
        folder: The run's folder.
    """
    context, tags = Context(), dict[str, str]()
    reader = JournalReader(folder)
    while entries := reader.read(1000):
        for _, entry in entries:
            if entry.kind == "context":
                context = context.updated(Context.from_plain(entry.data))
            elif entry.kind == "tags":
                tags |= {key: str(text) for key, text in entry.data.items()}
    return context, tags
