"""Does a module of tests leave a run open in the process, which would hurt those behind it?

A plugin of pytest: with several processes, what stands behind a module differs from run to run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _no_run_is_left_open() -> Iterator[None]:
    """Fail at the end of the module that left something open."""
    yield
    if "trackyard.tracking.calls" not in sys.modules:
        return
    calls, covering = (sys.modules[f"trackyard.tracking.{name}"] for name in ("calls", "covering"))
    left = [run.name for run in calls.active_runs]
    calls.active_runs.clear()
    users = [user for streams in covering._covered for user in streams._users]
    covering._covered.clear()
    assert (left, users) == ([], []), "what this module's tests leave open"
