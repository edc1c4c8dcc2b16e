"""Whatever a tracker's server does, the step goes on and the run arrives in the end, each once."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from contextlib import contextmanager
from email.utils import formatdate

import pytest
from evidence import wait_until
from recording_server import Answer, RecordingServer
from web import WebServer

from trackyard import start_run
from trackyard.delivery import breaker
from trackyard.delivery.state import load_state
from trackyard.recovery.finishing import find_pending_runs, sync_all

RECORDS = 30
# What a step may take longer than its budgets on a machine that is busy.
SLACK = 25.0


@pytest.fixture(autouse=True)
def _no_breakers_of_other_tests(monkeypatch):
    monkeypatch.setattr(breaker, "_breakers", {})


@pytest.fixture
def server():
    server = WebServer()
    yield server
    server.stop()


@pytest.fixture
def web(faults, server):
    """A project with a tracker behind the server."""

    def web(**fields):
        settings = {"start_timeout": 0.3, "flush_timeout": 0.3, "isolation": "thread"}
        (faults.root / "trackyard.toml").unlink(missing_ok=True)
        shutil.rmtree(faults.root / "backends", ignore_errors=True)
        faults.add_tracker(flavor="web:Web", server=server.url, **{**settings, **fields})
        return faults

    return web


@contextmanager
def within(seconds):
    """The budgets of a step, and what a busy machine takes."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds + SLACK


def track(*, before=lambda: None, after=lambda: None):
    with start_run("baseline") as run:
        for number in range(RECORDS):
            if number == RECORDS // 2:
                before()
            run.log_metric("loss", number, step=number)
        after()


def sync(faults):
    sync_all(faults.project, patience=10)


def is_whole(server, status="finished"):
    assert server.values() == list(range(RECORDS))
    assert server.statuses() == [status]
    return True


def test_n1_the_server_is_down_at_the_start_and_comes_up(web, server):
    faults = web(flush_timeout=20)
    begun = time.monotonic()
    with start_run("baseline") as run:
        assert time.monotonic() - begun < 0.3 + SLACK
        for number in range(RECORDS):
            run.log_metric("loss", number, step=number)
        server.start()
        wait_until(lambda: server.runs)

    assert is_whole(server)
    assert find_pending_runs(faults.project) == []


@pytest.mark.parametrize("moment", ["in the middle", "at the end", "all the time"])
def test_n2_the_server_goes_down(web, server, moment):
    faults = web()
    if moment != "all the time":
        server.start()
    with within(0.6):
        moments = {"in the middle": {"before": server.stop}, "at the end": {"after": server.stop}}
        track(**moments.get(moment, {}))
    assert find_pending_runs(faults.project)
    server.start()
    sync(faults)

    assert is_whole(server)


def test_n3_the_server_accepts_and_never_answers(web, server):
    faults = web(timeout=0.2)
    server.start()
    server.fault("hang")
    with within(0.6):
        track()
    server.mend()
    sync(faults)

    assert is_whole(server)


def test_n3_packets_are_swallowed(faults):
    """An address of a network for documentation: nobody answers, not even with a refusal."""
    faults.add_tracker(
        flavor="web:Web",
        server="http://192.0.2.1:9",
        timeout=60.0,
        start_timeout=0.3,
        flush_timeout=0.3,
        isolation="thread",
    )
    with within(0.6):
        track()

    assert len(faults.journaled("loss")) == RECORDS


def test_n4_answers_that_come_late_cost_no_more_than_the_budgets(web, server):
    faults = web(timeout=0.3)
    answer = server.answer

    def late(request):
        time.sleep(1.0)
        return answer(request)

    server.answer = late
    server.start()
    with within(0.6):
        track()
    server.answer = answer
    sync(faults)

    assert is_whole(server)


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize(
    "where", ["/runs/[^/]+\n", "/log\n", "/end\n"], ids=["start", "log", "end"]
)
def test_n4_answers_that_drip_cost_no_more_than_the_budgets(web, server, isolation, where):
    """Each byte comes before the client's time-out, and all of them would take minutes."""
    faults = web(timeout=1.0, hook_timeout=0.3, isolation=isolation)
    server.start()
    fault = server.fault("drip", where)
    with within(0.6):
        track()
    wait_until(lambda: fault.met)
    server.mend()
    sync(faults)
    wait_until(lambda: find_pending_runs(faults.project) == [])

    assert is_whole(server)


RETRY_AFTER = {
    "seconds": (lambda: "0.6", 0.5),
    "a date": (lambda: formatdate(time.time() + 3, usegmt=True), 1.0),
    "nothing that makes sense": (lambda: "soon", 0.0),
    "a negative number": (lambda: "-5", 0.0),
}


@pytest.mark.parametrize("told", RETRY_AFTER)
def test_n5_the_server_says_when_to_come_again(web, server, told):
    header, at_least = RETRY_AFTER[told]
    web(flush_timeout=20, start_timeout=20)
    server.start()
    fault = server.fault("status", status=429, headers={"Retry-After": header()}, times=1)
    begun = time.monotonic()
    track(after=lambda: wait_until(lambda: server.runs))

    assert fault.met == 1
    assert time.monotonic() - begun >= at_least
    assert is_whole(server)


def test_n5_a_wait_that_is_absurd_is_capped(web, server):
    web()
    server.start()
    server.fault("status", status=429, headers={"Retry-After": "1e12"})
    with within(0.6):
        track()
    (waiting,) = breaker._breakers.values()

    assert 0 < waiting.due() - time.monotonic() <= 300


@pytest.mark.parametrize("status", [500, 502, 503, 408])
def test_n6_bursts_of_errors_are_outlived(web, server, status):
    web(flush_timeout=20, start_timeout=20)
    server.start()
    server.fault("status", status=status, times=2)
    # Until the burst is over: a run's end waits for one more try of a start that failed, no more.
    track(after=lambda: wait_until(lambda: server.runs))

    assert is_whole(server)
    assert [run["ends"] for run in server.runs.values()] == [1]


def test_n6_answers_that_are_cut_off_change_nothing_but_the_time(web, server):
    web(flush_timeout=20)
    server.start()
    server.fault("drop", "/log", times=2)
    track()

    assert is_whole(server)


def test_n7_batches_that_are_too_large_are_made_smaller(web, server):
    web(flush_timeout=20)
    server.most = 7
    server.start()
    track()

    assert is_whole(server)


def test_n8_one_record_that_the_server_never_takes_is_put_aside_alone(web, server):
    faults = web(flush_timeout=20)
    server.start()
    with start_run("baseline") as run:
        for number in range(RECORDS):
            run.log_metric("bad" if number == 17 else "loss", number)

    assert server.values() == [number for number in range(RECORDS) if number != 17]
    assert server.statuses() == ["finished"]
    (folder,) = faults.run_folders()
    (line,) = (folder / "local" / "quarantine.jsonl").read_text().splitlines()
    assert '"bad"' in line
    assert "no such key" in line


@pytest.mark.parametrize("status", [401, 403])
def test_n9_a_token_that_is_refused_loses_nothing_and_is_not_shown(
    web, server, status, caplog, monkeypatch
):
    monkeypatch.setenv("WEB_TOKEN", "canary-canary-canary")
    faults = web(token="env:WEB_TOKEN")
    server.start()

    def refused():
        (folder,) = faults.run_folders()
        return str(status) in load_state(folder / "local").problem

    with within(0.6):
        track(
            before=lambda: server.fault("status", status=status),
            after=lambda: wait_until(refused),
        )
    assert str(status) in caplog.text
    server.mend()
    sync(faults)

    assert is_whole(server)
    assert "canary-canary-canary" not in caplog.text
    for file in faults.home.rglob("*"):
        assert not file.is_file() or b"canary-canary" not in file.read_bytes(), file


@pytest.mark.parametrize("answer", [b"<html>Welcome to the hotel</html>", b'{"ok": tr', b""])
def test_n10_an_answer_that_is_none_acknowledges_nothing(web, server, answer):
    faults = web()
    sound = server.answer
    server.answer = lambda request: sound(request) if "/log" not in request.path else Answer(answer)
    server.start()
    with within(0.6):
        track()
    assert find_pending_runs(faults.project)
    server.answer = sound
    sync(faults)

    assert is_whole(server)


def test_n11_a_server_that_cannot_show_who_it_is_gets_nothing(faults, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not there")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with WebServer() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        faults.add_tracker(
            flavor="web:Web",
            server=url,
            isolation="thread",
            start_timeout=0.5,
            flush_timeout=0.3,
        )
        with within(0.8):
            track()
        (pending,) = find_pending_runs(faults.project)

        assert server.requests == []
        assert "CERTIFICATE_VERIFY_FAILED" in (pending.folder / "local/delivery.json").read_text()


class Portal(RecordingServer):
    """Show a page to log in, whatever is asked for, as networks of hotels do."""

    def answer(self, request):
        return Answer(b"<html>Please log in</html>", 200, "text/html")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_n11_a_redirect_to_a_page_to_log_in_is_no_acknowledgement(web, server, status):
    faults = web(timeout=0.3)
    server.start()
    with Portal() as portal:
        away = portal.url.replace("127.0.0.1", "localhost")  # another host
        server.fault("status", status=status, headers={"Location": f"{away}/login"})
        with within(0.6):
            track()
        (pending,) = find_pending_runs(faults.project)
        assert load_state(pending.folder / "local").delivered == 0
    server.mend()
    sync(faults)

    assert is_whole(server)


@pytest.mark.slow
def test_n11_mlflow_shows_no_token_to_the_host_that_it_is_redirected_to(faults, server):
    server.start()
    with Portal() as portal:
        away = portal.url.replace("127.0.0.1", "localhost")
        server.fault("status", status=302, headers={"Location": f"{away}/login"})
        faults.add_tracker(
            flavor="mlflow",
            tracking_uri=server.url,
            tracking_token="env:TEAM_TOKEN",
            isolation="thread",
            flush_timeout=0.3,
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TEAM_TOKEN", "a-token-of-the-team")
            track()

        assert any("authorization" in request.headers for request in server.requests)
        assert portal.requests != []
        assert not any("authorization" in request.headers for request in portal.requests)
    (pending,) = find_pending_runs(faults.project)
    state = load_state(pending.folder / "local")
    assert (state.delivered, state.is_ended) == (0, False)


@pytest.mark.parametrize("lost", ["", "/log", "/end"])
def test_n12_what_the_server_did_and_could_not_say_is_there_once(web, server, lost):
    web(flush_timeout=20, start_timeout=20)
    server.start()
    where = f"^POST /runs/[0-9a-f]+{lost}\n" if lost else "^POST /runs/[0-9a-f]+\n"
    fault = server.fault("drop", where, times=1)
    track()

    assert fault.met == 1
    assert is_whole(server)
    assert len(server.runs) == 1
