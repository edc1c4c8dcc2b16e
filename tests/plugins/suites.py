"""Which checks of the conformance kit does each flavor's suite run by default?

A plugin of pytest. The suite of the kit's own reference runs them all. For others those that start
processes, or wait for a server, are `slow`, but for the one that kills a run: they ask more of core
than of the flavor.
"""

from __future__ import annotations

import re

import pytest

from trackyard.testing import FlavorSuite

WHOLE = ("TestLedger", "TestMemoryTracker")
SLOW = re.compile(
    "test_(killed_(between|in|when)|broken_server|import|forked_child|worker_process|step_goes_on_without_a_server"
    "|activation_works_without_a_start|last_records_are_kept|ten_thousand|late_records_of_a_child"
    "|two_runs_at_once|sync_delivers_what_is_left|delivery_from_the_first_record_again)"
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what starts processes, for suites that do not run it all."""
    suite = getattr(item, "cls", None)
    if suite is None or not issubclass(suite, FlavorSuite) or suite.__name__ in WHOLE:
        return
    if SLOW.match(item.name):
        item.add_marker(pytest.mark.slow)
