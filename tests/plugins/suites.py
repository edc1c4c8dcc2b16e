"""Which checks of the conformance kit does each suite run by default?

A plugin of pytest. The suite of the kit's own reference runs them all. For other flavors those that
start processes, or wait for a server, are `slow`, but for the one that kills a run: they ask more
of core than of the flavor. Each check of an orchestrator starts a script: one of each kind runs.
"""

from __future__ import annotations

import re

import pytest

from trackyard.testing import FlavorSuite, OrchestratorSuite
from trackyard.testing.checks.storms import PHASES, STORMS

# The others of the kit's own flavors; marked here, where a check may be `long` instead.
SLOW_SUITES = ("TestRemoteLedger",)
WHOLE = ("TestLedger", "TestMemoryTracker")
SLOW = re.compile(
    "test_(killed_(between|in|when)|broken_server|import|forked_child|worker_process|step_goes_on_without_a_server"
    "|activation_works_without_a_start|last_records_are_kept|ten_thousand|late_records_of_a_child"
    "|largest_batch_of_each|batches_of_one|odd_files|untidy_program|times_are|tags_are_exact"
    "|check_(finds|names)|delete_waits|run_that_was_never_there|run_of_a_foreign|end_may_be_long"
    "|native_calls_(are_captured|land_without)|native_files|sync_of|page_is_served"
    "|home_and_temporary|acknowledged_batch|threads_are_ended|globals_do_not|descriptors_are"
    "|storm_loses|write_that_fails"
    "|two_runs_at_once|sync_delivers_what_is_left|delivery_from_the_first_record_again)"
)
# Ray's `conftest.py` says it of its own, `local` is slow as a whole.
ORCHESTRATORS = ("TestProcess",)
ONE_OF_EACH = re.compile(
    r"test_(no_check|it_|making_one|outputs_come_back|two_steps|no_process|ctrl_c|timeout_is_told"
    r"|exception_comes_back\[of its own|death_is_a_crash_of_that_step_alone\[kill)"
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what starts processes, for suites that do not run it all."""
    suite = getattr(item, "cls", None)
    if item.name.startswith("test_storm_loses") and not _is_of_a_pair(item):
        item.add_marker(pytest.mark.long(reason="each storm at each hook of each flavor"))
        return
    if suite is None or suite.__name__ in WHOLE:
        return
    if issubclass(suite, FlavorSuite):
        is_slow = suite.__name__ in SLOW_SUITES or bool(SLOW.match(item.name))
    else:
        is_slow = (
            issubclass(suite, OrchestratorSuite)
            and suite.__name__ in ORCHESTRATORS
            and not ONE_OF_EACH.match(item.name)
        )
    if is_slow:
        item.add_marker(pytest.mark.slow)


def _is_of_a_pair(item: pytest.Item) -> bool:
    """Tell whether a storm meets one of the hooks at which it is tried before all is."""
    chosen = vars(item)["callspec"].params
    place = list(STORMS).index(chosen["storm"]) + list(PHASES).index(chosen["phase"])
    return place % len(PHASES) == 0
