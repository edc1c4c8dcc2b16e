"""Does the server that stands in for services record and misbehave as tests tell it?"""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request

import pytest
from recording_server import Answer, RecordingServer


class Echo(RecordingServer):
    """Answers with what it got."""

    def answer(self, request):
        return Answer(request.body, media_type="text/plain")


@pytest.fixture
def server():
    with Echo() as echo:
        yield echo


def post(server, path, body=b"", timeout=5.0):
    request = urllib.request.Request(server.url + path, data=body, method="POST")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read()


def test_what_arrives_is_recorded(server):
    assert post(server, "/a/b?c=1", b"text") == b"text"

    (request,) = server.wait_for("POST /a/b")
    assert (request.body, request.query) == (b"text", {"c": ["1"]})
    assert server.seen("/other") == []


def test_a_fault_meets_as_many_requests_as_it_says(server):
    server.fault("status", "POST /a", status=429, headers={"Retry-After": "1"}, times=1)

    with pytest.raises(urllib.error.HTTPError) as refused:
        post(server, "/a")
    assert (refused.value.code, refused.value.headers["Retry-After"]) == (429, "1")
    refused.value.close()
    assert post(server, "/a", b"now") == b"now"


def test_a_reply_is_dropped_after_the_request_was_served(server):
    server.fault("drop", "lost")

    with pytest.raises(OSError):
        post(server, "/a", b"lost")
    assert len(server.seen("/a")) == 1


def test_a_request_hangs_until_it_is_let_go(server):
    server.fault("hang")
    with pytest.raises(TimeoutError):
        post(server, "/a", timeout=0.2)

    server.mend()
    assert post(server, "/a", b"now") == b"now"


def test_a_stopped_server_refuses_and_cuts_connections_until_it_starts_again(server):
    kept = socket.create_connection(server.server_address)
    kept.sendall(b"GET /a HTTP/1.1\r\nHost: here\r\n\r\n")
    assert kept.recv(100).startswith(b"HTTP/1.1 200")

    server.stop()
    with pytest.raises(OSError):
        post(server, "/a")
    kept.settimeout(5)
    end = time.monotonic() + 5
    while kept.recv(1000):  # what was on its way, and then the end
        assert time.monotonic() < end
    kept.close()

    server.start()
    assert post(server, "/a", b"back") == b"back"
