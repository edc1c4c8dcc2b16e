"""Do the commands for what trackers do not have yet say what came of it?"""

from __future__ import annotations

import json

import pytest
from away import Away
from recorder import Recorder

from trackyard import start_run


@pytest.fixture
def away(project):
    """A tracker whose server is away during a run, and is back then."""
    project.add_tracker("local", Away, start_timeout=0.2, flush_timeout=0.2)
    (project.root / "away").touch()
    with start_run("baseline", tags={"a": "b"}) as run:
        for number in range(100):
            run.log_metric("a", number, number)
        run.log_text("text", "notes.txt")
    assert project.calls() == []
    return project


def sync(project, *arguments):
    result = project.trackyard("sync", "--json", *arguments)
    return result.returncode, json.loads(result.stdout)


def test_what_was_logged_while_the_server_was_away_arrives_later(away):
    (away.root / "away").unlink()
    code, (row,) = sync(away)

    assert code == 0
    assert (row["run"], row["state"], row["pending"]) == ("baseline", "complete", 0)
    assert row["delivered"] == 101
    assert away.hooks() == ["start", "log", "end"]
    assert away.logged("metrics") == [["a", float(number), number] for number in range(100)]
    assert away.logged("artifacts")[0][4] == "text"
    assert away.calls("start")[0]["tags"] == {"a": "b"}
    assert all(call["attached"] for call in away.calls())


def test_syncing_again_changes_nothing(away):
    (away.root / "away").unlink()
    sync(away)
    before = away.calls()

    assert sync(away) == (0, [])
    assert away.calls() == before
    result = away.trackyard("sync")
    assert result.stderr == "every tracker has everything\n"


def test_server_that_is_still_away_is_named(away):
    code, (row,) = sync(away, "--patience", "0")

    assert code == 1
    assert (row["state"], row["pending"]) == ("incomplete", 101)
    assert "ConnectionRefusedError: no server" in row["problem"]


def test_error_of_the_run_arrives_later(project):
    project.add_tracker("local", Away, start_timeout=0.2, flush_timeout=0.2)
    (project.root / "away").touch()
    with pytest.raises(ValueError), start_run():
        raise ValueError("odd")
    (project.root / "away").unlink()
    sync(project)

    assert project.hooks() == ["start", "fail"]
    assert project.calls("fail")[0]["failure"]["message"] == "odd"


# Replay


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zebra", "--to", "local"], "no run has the name, id or prefix 'zebra'"),
        (["baseline", "--to", "locl"], "no experiment tracker 'locl' is configured; did you mean"),
    ],
)
def test_replay_of_what_is_not_there_is_one_line(project, arguments, message):
    project.add_tracker("local", Recorder)
    with start_run("baseline"):
        pass
    result = project.trackyard("replay", *arguments)

    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_replay_without_a_target_is_wrong_usage(project):
    assert project.trackyard("replay", "baseline").returncode == 2
