"""Does `experiment-tracker check` find out whether a tracker works, and say what to type?"""

from __future__ import annotations

import json

import pytest
from canary import CANARY
from checked import Away, Deaf, Deleting, Forgetful, Offline, Stuck, Troubled
from click.testing import CliRunner
from recorder import Recorder

from trackyard import Client
from trackyard.cli.main import cli

CONFIGURED = "configuration done", "check done"


def check(*arguments, name="local"):
    arguments = ["experiment-tracker", "check", name, *arguments]
    return CliRunner().invoke(cli, arguments, prog_name="trackyard")


def tried(result):
    return tuple(f"{s['stage']} {s['status']}" for s in json.loads(result.stdout)["stages"])


def test_run_is_started_logged_to_ended_and_deleted(project):
    project.add_tracker("local", Deleting)
    result = check()

    assert result.exit_code == 0
    assert project.hooks() == ["start", "log", "end", "delete"]
    assert len({call["id"] for call in project.calls()}) == 1
    assert project.logged("metrics") == [["check", 1.0, 0], ["check", 2.0, 1]]
    lines = [line.split("\t")[:2] for line in result.stdout.splitlines()]
    assert [f"{stage} {status}" for stage, status in lines[:-1]] == [
        *CONFIGURED,
        *("start done", "log done", "end done", "delete done"),
    ]
    assert lines[-1] == [f"https://tracker.test/trackyard-check/{project.calls()[0]['id']}"]
    assert result.stderr == "Notice: It is meant for tests.\n"


def test_tracker_that_cannot_delete_is_no_failure(project):
    project.add_tracker("local", Recorder)
    result = check("--json")

    assert result.exit_code == 0
    assert tried(result)[-2:] == ("end done", "delete left out")
    assert json.loads(result.stdout)["is_working"] is True


def test_deletion_that_fails_is_said(project):
    project.add_tracker("local", Forgetful)
    result = check()

    assert result.exit_code == 1
    assert "does not work: delete: tracker_delete_run: OSError: deleting is not" in result.stderr
    assert "delete the run 'trackyard-check' on the tracker's page" in result.stderr


def test_backend_that_is_away_is_named_without_the_secret(project, monkeypatch):
    project.add_tracker("local", Away, token="env:TOKEN")
    monkeypatch.setenv("TOKEN", CANARY)
    result = check()

    assert result.exit_code == 1
    assert "start: tracker_start_run: ConnectionError: no answer for ***" in result.stderr
    assert "type: trackyard experiment-tracker update local --help" in result.stderr
    assert "very-secret" not in result.output


def test_secret_that_is_not_there_is_answered_with_what_to_type(project):
    project.add_tracker("local", Recorder, token="env:TOKEN_OF_MINE")
    result = check()

    assert result.exit_code == 1
    assert "the environment variable TOKEN_OF_MINE is not set" in result.stderr
    assert "type: export TOKEN_OF_MINE=..." in result.stderr
    assert project.calls() == []


def test_run_that_cannot_be_logged_to_is_ended_as_failed(project):
    project.add_tracker("local", Deaf)
    result = check("--json")

    assert result.exit_code == 1
    assert project.hooks() == ["start", "fail"]
    assert tried(result) == (*CONFIGURED, "start done", "log failed", "delete left out")


def test_what_a_flavor_finds_itself_is_said_before_a_run_is_made(project):
    project.add_tracker("local", Troubled)
    result = check("--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["problem"] == "check: the disk is full; the key is old"
    assert project.calls() == []


def test_tracker_that_hangs_is_given_up_in_time(project):
    project.add_tracker("local", Stuck)
    result = check("--timeout", "0.5", "--json")
    came = json.loads(result.stdout)

    assert result.exit_code == 1
    assert project.hooks() == ["start"]
    assert came["problem"] == "start: no answer within 0.5 s"
    assert came["advice"].endswith("type: trackyard experiment-tracker check local --timeout 2")


def test_process_ends_although_a_hook_never_returns(project):
    project.add_tracker("local", Stuck)

    assert (
        project.trackyard("experiment-tracker", "check", "local", "--timeout", "1").returncode == 1
    )


def test_offline_run_is_noted(project):
    project.add_tracker("local", Offline)
    result = check()

    assert result.exit_code == 0
    assert "keeps runs on this machine for now; upload them: trackyard sync" in result.stderr


def test_unknown_tracker_is_answered_with_the_nearest(project):
    project.add_tracker("local", Recorder)
    result = check(name="locale")

    assert result.exit_code == 1
    assert "no experiment tracker 'locale' is configured; did you mean 'local'?" in result.stderr


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_wrong_timeout_is_wrong_usage(project, timeout):
    project.add_tracker("local", Recorder)

    assert check("--timeout", timeout).exit_code == 2


def test_client_gives_the_same(project):
    project.add_tracker("local", Deleting)
    seen = []
    came = Client().check_experiment_tracker("local", progress=seen.append)

    assert came.is_working
    assert came.stages == tuple(seen)
    assert repr(came).startswith("<TrackerCheck local ")
    assert "<table>" in came._repr_html_()
