"""Does a delivery's stage go forward alone, and does nobody wait for one that cannot come?"""

from __future__ import annotations

import itertools
import time
from threading import Thread

import pytest

from trackyard.delivery.stages import Progress, Stage


def at(*stages: Stage) -> Progress:
    progress = Progress()
    for stage in stages:
        progress.move(stage)
    return progress


@pytest.mark.parametrize("over", [Stage.ENDED, Stage.LEFT, Stage.GIVEN_UP])
@pytest.mark.parametrize("stage", Stage)
def test_what_is_over_stays_over_but_that_the_end_may_arrive(over, stage):
    is_later = stage is Stage.ENDED or (over, stage) == (Stage.LEFT, Stage.GIVEN_UP)

    assert at(over, stage).stage is (stage if is_later else over)


def test_what_has_started_is_never_new_or_late_again():
    for started, stage in itertools.product((Stage.OPEN, Stage.SHUT), (Stage.NEW, Stage.LATE)):
        assert at(started, stage).stage is started


def test_a_wait_ends_with_the_stage_that_is_waited_for():
    progress = Progress()
    Thread(target=progress.move, args=(Stage.OPEN,)).start()

    assert progress.until_settled(30)
    assert progress.until_started(30)
    assert not progress.until_ended(0.01)


@pytest.mark.parametrize("over", [Stage.LEFT, Stage.GIVEN_UP])
def test_nobody_waits_for_the_end_of_what_was_given_up(over):
    begun = time.monotonic()

    assert not at(Stage.OPEN, over).until_ended(30)
    assert not at(over).until_started(30)
    assert at(over).until_settled(30)
    assert time.monotonic() - begun < 10
