"""An outage is no refusal, and what a tracker does not take holds up nobody."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner
from evidence import wait_until
from refusing import ClientError, Counting, Narrow, Scripted
from web import WebServer

from trackyard import Client, RetryLater, start_run
from trackyard.cli.main import cli
from trackyard.contract import RunDeleted, classify_answer, classify_error
from trackyard.delivery import breaker
from trackyard.delivery.state import load_state
from trackyard.recovery.finishing import find_pending_runs, sync_all

RECORDS = 30


@pytest.fixture(autouse=True)
def _no_breakers_of_other_tests(monkeypatch):
    monkeypatch.setattr(breaker, "_breakers", {})


@pytest.fixture
def server():
    with WebServer() as server:
        yield server


@pytest.fixture
def scripted(faults, server, monkeypatch):
    Scripted.raised.clear()
    faults.add_tracker(
        flavor="refusing:Scripted", server=server.url, isolation="thread", flush_timeout=5.0
    )
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    yield faults
    Scripted.raised.clear()


def track(special="special"):
    with start_run("baseline") as run:
        for number in range(RECORDS):
            run.log_metric(special if number == 17 else "loss", number, step=number)


def taken(server):
    return sorted(server.values())


def without(number):
    return [n for n in range(RECORDS) if n != number]


def state_of(faults):
    (folder,) = faults.run_folders()
    return load_state(folder / "local")


@pytest.mark.parametrize("text", ["ExpiredToken", "EndpointConnectionError", "NoCredentials"])
def test_n14_what_a_client_of_a_file_store_raises_refuses_nothing(scripted, server, text):
    Scripted.raised["special"] = ClientError(text)
    track()

    assert taken(server) == without(17)
    assert (state_of(scripted).apart, state_of(scripted).quarantined) == (1, 0)
    Scripted.raised.clear()
    rows = Client().sync()
    assert [(row.state, row.pending) for row in rows] == [("complete", 0)]
    assert taken(server) == list(range(RECORDS))


ANSWERS = {
    "404 HTML": (404, {}, b"<html>not found</html>", "later"),
    "404 JSON of a gateway": (404, {}, b'{"message": "no Route matched"}', "later"),
    "404 JSON of the backend": (404, {}, b'{"error_code": "GONE"}', "deleted"),
    "400 HTML": (400, {}, b"<html>Bad Request</html>", "later"),
    "400 JSON": (400, {}, b'{"error_code": "BAD", "message": "no such key"}', "refused"),
    "401": (401, {}, b'{"message": "token expired"}', "credential"),
    "403 HTML": (403, {}, b"<html>Forbidden</html>", "credential"),
    "413": (413, {}, b"<html>Request Entity Too Large</html>", "too large"),
    "429": (429, {"Retry-After": "7"}, b"", "later"),
    "500 JSON": (500, {}, b'{"error_code": "INTERNAL_ERROR"}', "later"),
    "200 HTML": (200, {"Content-Type": "text/html"}, b"<html>Log in</html>", "later"),
    "200 attached HTML": (
        200,
        {"Content-Type": "text/html", "Content-Disposition": 'attachment; filename="report.html"'},
        b"<html>The report</html>",
        "taken",
    ),
    "200 JSON": (200, {"content-type": "application/json"}, b"{}", "taken"),
    "302": (302, {"Location": "/login"}, b"", "later"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_n15_who_answers_says_what_the_answer_means(case):
    status, headers, body, verdict = ANSWERS[case]
    answer = classify_answer(status, headers, body, deleted=["GONE"])

    assert answer.verdict == verdict
    assert answer.after == (7.0 if case == "429" else None)


def test_n15_a_file_that_was_asked_for_may_be_a_page():
    page = (200, {"Content-Type": "text/html"}, b"<html>The report</html>")

    assert classify_answer(*page, is_file=True).verdict == "taken"
    assert classify_answer(401, *page[1:], is_file=True).verdict == "credential"


def test_n16_many_refusals_in_the_same_words_are_an_outage(scripted, server):
    Scripted.raised["loss"] = ValueError("this project is archived")
    track()

    assert state_of(scripted).quarantined == 0
    Scripted.raised.clear()
    Client().sync()
    assert taken(server) == list(range(RECORDS))


@pytest.mark.parametrize("error", [RetryLater("504"), OSError(errno.EIO, "broken")])
def test_n17_a_record_that_is_never_taken_waits_alone(scripted, server, error):
    Scripted.raised["special"] = error
    track()

    assert taken(server) == without(17)
    assert server.statuses() == ["finished"]
    assert [run.folder.name for run in find_pending_runs(scripted.project)]
    sync_all(scripted.project, patience=1.0)
    assert state_of(scripted).apart == 1


def test_n17_a_backend_that_counts_gets_it_once_when_it_takes_it(faults, monkeypatch):
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    Counting.refuses = True
    faults.add_tracker(flavor="refusing:Counting", database=str(faults.root / "c.db"))
    track()
    sync_all(faults.project, patience=1.0)
    Counting.refuses = False
    rows = Client().sync()

    assert [(row.state, row.pending, row.delivered) for row in rows] == [("complete", 0, RECORDS)]
    assert sorted(Counting.steps) == list(range(RECORDS))


def test_n18_a_run_that_was_deleted_there_is_left_alone_and_restored_gets_all(
    scripted, server, caplog
):
    Scripted.raised["special"] = RunDeleted("it is in the trash")
    track()
    assert caplog.text.count("was deleted there") == 1
    seen = len(server.requests)
    sync_all(scripted.project, patience=1.0)
    assert len(server.requests) == seen
    (row,) = Client().sync(patience=1.0)
    assert (row.state, "trash" in row.problem) == ("incomplete", True)
    assert len(server.requests) > seen
    Scripted.raised.clear()
    (row,) = Client().sync()

    assert row.state == "complete"
    assert taken(server) == list(range(RECORDS))
    assert server.statuses() == ["finished"]


@pytest.mark.slow
def test_n19_a_server_that_was_restarted_empty_gets_everything(faults, monkeypatch, tmp_path):
    from mlflow import MlflowClient

    store = tmp_path / "store.db"
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    faults.add_tracker(flavor="mlflow", tracking_uri=f"sqlite:///{store}", start_timeout=60.0)
    with start_run("baseline", experiment="emptied") as run:
        run.log_metric("loss", 1.0, step=0)
        run.log_text("text", "text.txt")
        wait_until(lambda: state_of(faults).delivered >= 2)
        with closing(sqlite3.connect(store)) as database, database:
            for table in ("metrics", "latest_metrics", "params", "tags", "runs", "experiments"):
                database.execute(f"DELETE FROM {table}")
        run.log_metric("loss", 2.0, step=1)
    rows = Client().sync()

    client = MlflowClient(f"sqlite:///{store}")
    (found,) = client.search_runs([client.get_experiment_by_name("emptied").experiment_id])
    assert all(row.state == "complete" for row in rows)
    history = client.get_metric_history(found.info.run_id, "loss")
    assert sorted(point.value for point in history) == [1.0, 2.0]
    assert [file.path for file in client.list_artifacts(found.info.run_id)] == ["text.txt"]
    assert found.info.status == "FINISHED"


def test_n20_what_was_refused_is_said_sent_again_and_accepted_by_name(scripted, server):
    Scripted.raised["special"] = ValueError("no such key")
    track()
    result = CliRunner().invoke(cli, ["sync", "--json"])
    code, (row,) = result.exit_code, json.loads(result.stdout)
    assert (code, row["state"], row["quarantined"], row["pending"]) == (1, "refused", 1, 0)
    assert "trackyard sync --refused" in typed("doctor")[1]

    assert typed("sync", "--accept", "baseline")[0] == 0
    code, text = typed("sync")
    assert (code, "everything" in text) == (0, True)
    assert "1 accepted" in typed("runs", "show", "baseline")[1]
    assert "was accepted" in typed("doctor")[1]

    Scripted.raised.clear()
    (row,) = Client().sync(refused=True)
    assert (row.state, row.quarantined) == ("complete", 0)
    assert taken(server) == list(range(RECORDS))
    assert typed("sync")[0] == 0


def typed(*command):
    """Type a command; give its exit code and what it writes."""
    result = CliRunner().invoke(cli, list(command))
    return result.exit_code, result.output


def test_n21_a_request_that_is_too_large_is_halved_until_it_passes(faults):
    with Narrow() as server:
        faults.add_tracker(
            flavor="refusing:Classifying",
            server=server.url,
            isolation="thread",
            flush_timeout=10.0,
        )
        track()

        assert taken(server) == list(range(RECORDS))
        assert state_of(faults).quarantined == 0


NUMBERS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EACCES]


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_d9_a_file_of_a_flavor_that_cannot_be_written_refuses_nothing(scripted, server, number):
    Scripted.raised["special"] = OSError(number, os.strerror(number))
    assert classify_error(Scripted.raised["special"]).verdict == "later"
    track()

    assert (state_of(scripted).apart, state_of(scripted).quarantined) == (1, 0)
    assert taken(server) == without(17)


STARVED = [MemoryError(), RuntimeError("can't start new thread")]


@pytest.mark.parametrize("error", STARVED, ids=["memory", "thread"])
def test_d13_a_hook_that_finds_no_memory_or_thread_refuses_nothing(scripted, server, error):
    Scripted.raised["special"] = error
    track()

    assert (state_of(scripted).apart, state_of(scripted).quarantined) == (1, 0)
    assert taken(server) == without(17)
    Scripted.raised.clear()
    assert [row.state for row in Client().sync()] == ["complete"]
    assert taken(server) == list(range(RECORDS))
