"""In which session of its run was a file of a journal written?

A run that is resumed is open once more, and each time that it is open is a session of it: session 0
is the first one. The number stands in the names of the files that the session's processes write,
`r0-s1-p...`; those of session 0 bear none. The latest session that has a file is the one whose end
is the run's: a session begins with its first entry, which says `resumed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SESSION = re.compile(r"-s(\d{1,9})-p\d")


def role_in(role: str, session: int) -> str:
    """Give how the names of a writer's files begin.

    Args:
        role: What its process is to the run.
        session: The session that it writes in.
    """
    return f"{role}-s{session}" if session else role


def session_of(writer: str) -> int:
    """Give the session in which a writer writes.

    Args:
        writer: A writer of a journal.
    """
    match = _SESSION.search(writer)
    return int(match[1]) if match else 0


def in_order(writers: Iterable[str]) -> list[str]:
    """Give each writer once, those of the first session first.

    Args:
        writers: Writers of a journal.
    """
    return sorted({*writers}, key=lambda writer: (session_of(writer), writer))
