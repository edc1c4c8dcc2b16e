"""Does a run with `mode = "auto"` go offline, since its server is not there?"""

from __future__ import annotations

import json
import threading
import time

import pytest

from trackyard import home, is_out_of_reach
from trackyard.project import offline

URL = "http://tracker.test"


def test_a_server_that_answers_is_within_reach(project, caplog):
    assert not is_out_of_reach("Service", URL, lambda: True)
    assert caplog.messages == []


def test_one_that_does_not_is_named_once_and_not_asked_again(project, caplog):
    asked = []
    (home()).mkdir(exist_ok=True)
    for _ in range(3):
        assert is_out_of_reach("Service", URL, lambda: asked.append(1))

    assert len(asked) == 1
    (line,) = caplog.messages
    assert line == (
        "Service: http://tracker.test does not answer; runs are kept offline now, "
        "upload: trackyard sync"
    )


def test_it_is_asked_again_after_a_minute(project):
    home().mkdir(exist_ok=True)
    (home() / "servers-away.json").write_text(json.dumps({URL: time.time() - 61}))

    assert not is_out_of_reach("Service", URL, lambda: True)


@pytest.mark.parametrize("text", ["", "[1]", '{"a": "b"}', "{"])
def test_what_is_remembered_may_be_damaged(project, text):
    home().mkdir(exist_ok=True)
    (home() / "servers-away.json").write_text(text)

    assert not is_out_of_reach("Service", URL, lambda: True)


def test_an_error_means_no(project):
    assert is_out_of_reach("Service", URL, lambda: 1 / 0)


def test_one_that_hangs_in_the_look_up_of_its_name_is_away(project, monkeypatch):
    monkeypatch.setattr(offline, "PROBE", 0.05)
    forever = threading.Event()
    try:
        assert is_out_of_reach("Service", URL, forever.wait)
    finally:
        forever.set()


def test_a_known_problem_needs_no_question_and_is_said_once(project, caplog):
    home().mkdir(exist_ok=True)
    assert is_out_of_reach("Service", URL, pytest.fail, "no API key is configured")
    assert is_out_of_reach("Service", URL, pytest.fail, "no API key is configured")
    (line,) = caplog.messages
    assert line.startswith("Service: no API key is configured; runs are kept offline")
