"""Which checks of the conformance kit does each suite run by default?

A plugin of pytest. The suite of the kit's own reference runs them all. Each flavor shows by
default what it makes of a run; every other check is tried by two flavors, whose turn it is. Those
that start processes, or wait for a server, are `slow` for these two and `long` for the others, but
for the one that kills a run: they ask more of core than of the flavor. Each check of an
orchestrator starts a script: one of each kind runs. What is seen of a format in another process is
seen of one format. The slow and the long tier together run all of it.
"""

from __future__ import annotations

import random
import re

import pytest

from trackyard.testing import FlavorSuite, MaterializerSuite, OrchestratorSuite
from trackyard.testing.checks.storms import PHASES, STORMS

# The others of the kit's own flavors; marked here, where a check may be `long` instead.
SLOW_SUITES = ("TestRemoteLedger",)
WHOLE = "TestMemoryTracker"
# Of these, what a suite beside them does not show: the reference lacks hooks, a server and files;
# Neptune's offline mode differs from its online mode in where runs, times and secrets are kept.
PARTS = {
    "TestLedger": re.compile(
        "test_(no_check|process_is_as|attached_run|native_calls|activation_works|error_at_activation"
        "|longest_|start_returns|worker_process|delete|run_that_was_never_there|check_(finds|names)"
        "|page_is_served|sync_of|secrets_are_shown|acknowledged_batch|forked_child|killed_"
        "|server_that|broken_server|step_goes_on_without_a_server|write_that_fails)"
    ),
    "TestNeptuneOffline": re.compile(
        r"test_(no_check|making_an_instance|start_(is_idempotent|in_another_process)"
        r"|run_that_(ended|raised)|url_|native_calls_land|working_directory|metrics_are_kept"
        r"|not_a_number|timestamps|params_are_kept|artifacts_are_kept\[(file|figure)|tag_may_change"
        r"|artifact_may_change|deleted_run|batch_that_comes_twice|replay_equals|secrets_are_shown"
        r"|killed_run_is_crashed)"
    ),
}
SLOW = re.compile(
    "test_(killed_(between|in|when)|broken_server|import|forked_child|worker_process|step_goes_on_without_a_server"
    "|activation_works_without_a_start|last_records_are_kept|ten_thousand|late_records_of_a_child"
    "|largest_batch_of_each|batches_of_one|odd_files|untidy_program|times_are|tags_are_exact"
    "|check_(finds|names)|delete_waits|run_that_was_never_there|run_of_a_foreign|end_may_be_long"
    "|native_calls_(are_captured|land_without)|native_files|sync_of|page_is_served"
    "|home_and_temporary|acknowledged_batch|threads_are_ended|globals_do_not|descriptors_are"
    "|storm_loses|write_that_fails|sdk_call_that|artifacts_are_the_backends"
    "|runs_are_listed|query_leaves|listed_run_is_described|foreign_remote|source_(is|alone_leaves)"
    "|files_(are_read|need_not)|variables_of_a|native_calls_of_a|names_of_artifacts|what_is_larger"
    "|two_runs_at_once|sync_delivers_what_is_left|delivery_from_the_first_record_again)"
)
# Suites among which the checks go round.
ROUNDS = (
    (
        "TestComet",
        "TestMlflow",
        "TestNeptuneOnline",
        "TestTensorboard",
        "TestTrackio",
        "TestWandb",
    ),
    (
        "TestCursorLedger",
        "TestNarrowLedger",
        "TestRebuiltLedger",
        "TestRemoteLedger",
        "TestSdkLedger",
        "TestWireLedger",
    ),
)
# What each flavor makes of a run, by its own SDK.
BY_EACH = re.compile(
    "test_(no_check|metrics_are_kept|params_are_kept|tags_of_the_start|artifacts_are_kept"
    "|timestamps_are|not_a_number_is|numbers_are_exact|irregular_points|unicode|bytes_are"
    "|run_that_|url_opens|identity_is|native_calls_land|replay_equals|deleted_run_is"
    "|start_in_another|listed_run_is_read|working_directory|lost_answer.*_log)"
)
# Ray's `conftest.py` says it of its own, `local` is slow as a whole.
ORCHESTRATORS = ("TestProcess",)
ONE_OF_EACH = re.compile(
    r"test_(no_check|it_|outputs_come_back|two_steps|ctrl_c|exception_comes_back\[of its own"
    r"|death_is_a_crash_of_that_step_alone\[kill)"
)
# Those whose values another process loads and saves: it is started for each suite.
WHOLE_FORMAT = "TestJson"
IN_ANOTHER_PROCESS = re.compile(
    "test_(bytes_are_the_same|another_process|file_is_not_bound|loading_runs_no_code"
    "|nothing_is_written_elsewhere|no_file_is_held_open)"
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what starts processes, for suites that do not run it all."""
    suite = getattr(item, "cls", None)
    if item.name.startswith("test_storm_loses") and not _is_of_a_pair(item):
        item.add_marker(pytest.mark.long(reason="each storm at each hook of each flavor"))
    elif suite is not None and _is_slow(suite, item.name):
        is_tried = _is_the_turn_of(suite, item.name)
        item.add_marker(
            pytest.mark.slow
            if is_tried
            else pytest.mark.long(reason="each check by each flavor; two have their turn")
        )
    elif suite is not None and not _is_by_default(suite, item.name):
        item.add_marker(pytest.mark.slow)


def _is_by_default(suite: type, name: str) -> bool:
    """Tell whether a check that is not dear runs by default."""
    if not issubclass(suite, FlavorSuite) or suite.__name__ not in ROUNDS[0]:
        return True
    return bool(BY_EACH.match(name)) or _is_the_turn_of(suite, name)


def _is_the_turn_of(suite: type, name: str) -> bool:
    """Tell whether a suite is one of the two that try a check; those beside a round always do."""
    for suites in ROUNDS:
        if suite.__name__ in suites:
            return suite.__name__ in random.Random(name).sample(suites, 2)
    return True


def _is_slow(suite: type, name: str) -> bool:
    """Tell whether a suite leaves a check to the slow tier."""
    if issubclass(suite, FlavorSuite):
        return _is_slow_of_a_flavor(suite.__name__, name)
    if issubclass(suite, MaterializerSuite):
        return suite.__name__ != WHOLE_FORMAT and bool(IN_ANOTHER_PROCESS.match(name))
    is_orchestrator = issubclass(suite, OrchestratorSuite) and suite.__name__ in ORCHESTRATORS
    return is_orchestrator and not ONE_OF_EACH.match(name)


def _is_slow_of_a_flavor(suite: str, name: str) -> bool:
    """Tell it of a flavor: one runs whole, some in part, the others but for what is dear."""
    if suite == WHOLE:
        return False
    if suite in PARTS and not PARTS[suite].match(name):
        return True
    is_dear = suite in SLOW_SUITES or SLOW.match(name)
    return suite != "TestLedger" and bool(is_dear)


def _is_of_a_pair(item: pytest.Item) -> bool:
    """Tell whether a storm meets one of the hooks at which it is tried before all is."""
    chosen = vars(item)["callspec"].params
    place = list(STORMS).index(chosen["storm"]) + list(PHASES).index(chosen["phase"])
    return place % len(PHASES) == 0
