"""Does the conformance kit pass what is right, and show what is not?"""

from __future__ import annotations

import signal

import pytest

from trackyard.testing import FlavorSuite
from trackyard.testing.contract import checks_of, failure_message
from trackyard.testing.running import check_flavor, run_file

GUARD = "test_no_check_is_overridden_or_deleted"
SUITE = """
import pytest

from trackyard.testing import FlavorSuite


class TestMemory(FlavorSuite):
    backend_outlives_process = False
    reference = "trackyard.testing:MemoryTracker"
    {body}

    @pytest.fixture
    def config(self):
        return {{"flavor": self.reference}}
"""
SILENT = """
from trackyard import flavor
from trackyard.testing import MemoryTracker


@flavor
class Silent(MemoryTracker):
    color: str = "red"
"""


WITHOUT_SDK = """
from trackyard import flavor, hookimpl
from trackyard.testing import MemoryTracker


@flavor
class Sdkless(MemoryTracker):
    @hookimpl
    def tracker_start_run(self, run):
        import no_such_sdk
"""


class TestMemoryTracker(FlavorSuite):
    """The reference implementation passes every check that applies to it."""

    backend_outlives_process = False

    @pytest.fixture
    def config(self):
        return {"flavor": "trackyard.testing:MemoryTracker"}


@pytest.mark.slow
def test_flavor_that_cannot_be_loaded_or_imports_nothing_is_one_failure(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "without_sdk.py").write_text(WITHOUT_SDK, encoding="utf-8")
    for reference, cause in (("nowhere:Tracker", "nowhere"), ("without_sdk:Sdkless", "no_such_")):
        results = check_flavor({"flavor": reference}, ["is_finished", "is_failed"])
        failed, skipped = results

        assert [failed.outcome, skipped.outcome] == ["failed", "skipped"]
        assert cause in failed.reason
        assert "before this is mended" in skipped.reason


# Each is the body of a suite of the reference, and what comes of one of its checks.
BODIES = {
    "an honest suite": ("", GUARD, "passed", ""),
    "a check is overridden": (
        "def test_metrics_are_kept(self): pass",
        GUARD,
        "failed",
        "TestMemory changes test_metrics_are_kept",
    ),
    "a check is deleted": (
        "test_metrics_are_kept = None",
        GUARD,
        "failed",
        "TestMemory changes test_metrics_are_kept",
    ),
    "a declared failure is no check": (
        "expected_failures = {'test_metrics_are_kpet': 'a slip'}",
        GUARD,
        "failed",
        "expected_failures names no checks: test_metrics_are_kpet",
    ),
    "a declared failure has no reason": (
        "expected_failures = {'test_metrics_are_kept': ' '}",
        GUARD,
        "failed",
        "expected_failures gives no reason for test_metrics_are_kept",
    ),
    "a declared failure passes": (
        "expected_failures = {'test_metrics_are_kept': 'it cannot'}",
        "test_metrics_are_kept",
        "failed",
        "[XPASS(strict)] it cannot",
    ),
    "a declared failure fails": (
        "reference, expected_failures = 'silent:Silent', {'test_every_field_has_help': 'silent'}",
        "test_every_field_has_help",
        "expected failure",
        "silent",
    ),
    "a capability is not declared": (
        "",
        "test_start_returns_the_cursor",
        "skipped",
        "the flavor declares idempotence='natural'",
    ),
    "a fixture is not given": (
        "",
        "test_native_calls_land_in_the_run",
        "skipped",
        "the suite has no fixture log_natively",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_suite_shows_what_its_subclass_changes(name, tmp_path, monkeypatch):
    body, check, outcome, reason = BODIES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "silent.py").write_text(SILENT, encoding="utf-8")
    file = tmp_path / "test_memory.py"
    file.write_text(SUITE.format(body=body), encoding="utf-8")

    (result,) = run_file(file, [check])

    assert (result.check, result.outcome, result.reason) == (check, outcome, reason)


HANGING = """
from threading import Event

import pytest

from trackyard.contract import flavor, hookimpl
from trackyard.testing import FlavorSuite, MemoryTracker


@flavor
class HangingTracker(MemoryTracker):
    @hookimpl
    def tracker_start_run(self, run):
        while True:
            try:
                Event().wait()
            except Exception:
                continue


class TestHanging(FlavorSuite):
    longest_check = 1.0

    @pytest.fixture
    def config(self):
        return {"flavor": "test_hanging:HangingTracker"}
"""


def test_hook_that_does_not_return_ends_its_check_and_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGUSR2)
    file = tmp_path / "test_hanging.py"
    file.write_text(HANGING, encoding="utf-8")

    (result,) = run_file(file, ["test_start_fits_its_budget"])

    assert result.outcome == "failed"
    assert result.reason.startswith(
        "it had not ended after 1 s: tracker_start_run does not return; it is at test_hanging.py:16"
        " `Event().wait()`, in threading.py"
    )
    assert signal.getsignal(signal.SIGUSR2) == before


def test_guard_itself_cannot_be_changed():
    with pytest.raises(TypeError, match=f"Sly must not change {GUARD}"):
        type("Sly", (FlavorSuite,), {GUARD: None})


def test_there_are_over_fifty_checks_each_for_a_sentence_of_its_own():
    sentences = checks_of(FlavorSuite)

    assert len(sentences) >= 50
    assert len(set(sentences.values())) == len(sentences)
    assert [s for s in sentences.values() if not s.rstrip(". ").count(" ")] == []


def test_failure_quotes_the_sentence_and_says_what_was_seen(tmp_path):
    table = {"flavor": "trackyard.testing:MemoryTracker", "project": 5}

    (result,) = check_flavor(table, ["metrics_are_kept"])

    assert result.outcome == "failed"
    assert "project" in result.reason
    sentence = checks_of(FlavorSuite)["test_metrics_are_kept"]
    shown = failure_message(sentence, result.reason)
    assert shown == f'The contract says: "{sentence}"\nThe suite saw: {result.reason}'
