"""When a run of a backend of files counts as deleted, as made anew, or as there."""

from __future__ import annotations

import pytest

from trackyard.contract import Presence, Run, RunDeleted


@pytest.fixture
def presence(tmp_path):
    run = Run("0" * 32, "baseline", "fraud", 0, tmp_path)
    return Presence(run, "runs, fraud")


def yes():
    return True


def no():
    return False


def test_a_run_that_was_not_started_here_is_not_gone(presence):
    assert not presence.is_gone(no, no)
    presence.note_start()
    assert not Presence(presence.run, "elsewhere").is_gone(no, no)


def test_a_run_that_alone_is_missing_was_deleted(presence):
    presence.note_start()

    assert not presence.is_gone(yes, yes)
    with pytest.raises(RunDeleted, match=r"was deleted in runs, fraud"):
        presence.is_gone(no, yes)


def test_where_everything_is_gone_the_run_is_made_anew_from_its_first_record(presence):
    assert presence.note_start() is None
    assert presence.is_gone(no, no)
    assert presence.note_start() == 0  # again, where the start is killed
    presence.note_records()
    assert presence.note_start() is None
