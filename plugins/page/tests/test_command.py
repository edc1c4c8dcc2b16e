"""`trackyard page`: what does it serve, and what does it refuse?"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from trackyard.testing import CommandSuite
from trackyard_page.command import page


class TestPage(CommandSuite):
    command = "page"
    arguments = ["--help"]
    expected_failures = {
        "test_json_is_json": "its JSON comes while it serves, and --help has none",
        "test_runs_of_every_kind_are_shown": "it shows them in a browser",
    }


@contextmanager
def served(folder, *arguments, **environment):
    command = [sys.executable, "-m", "trackyard", "page", "--no-open", *arguments]
    environment = {**os.environ, **environment}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server.stdout.readline().strip(), server
        finally:
            server.terminate()


@pytest.mark.parametrize(
    "arguments",
    [["--no-token"], ["--no-token", "--host", "0.0.0.0"], ["--user-header", "X-User"]],
    ids=" ".join,
)
def test_what_would_let_in_whoever_comes_by_is_refused(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(page, arguments)

    assert outcome.exit_code == 1
    assert "--trusted-proxy" in str(outcome.exception)


def test_the_printed_link_opens_the_page(tmp_path):
    with served(tmp_path, "--port", "0") as (link, _):
        assert "?token=" in link
        with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(link) as answer:
            assert b"No runs yet" in answer.read()
            assert "token" not in answer.url


@pytest.mark.slow
def test_a_unix_socket_is_this_accounts_alone(tmp_path):
    with served(tmp_path, "--unix-socket", "page.sock") as (link, server):
        assert link == "unix:page.sock"
        assert stat.S_IMODE((tmp_path / "page.sock").stat().st_mode) == 0o600
        server.terminate()
        server.wait()
    assert not (tmp_path / "page.sock").exists()


UNENDING = """
import asyncio, socket
from trackyard_page.command import _serve

async def app(scope, receive, send):
    print("asked", flush=True)
    await asyncio.sleep(600)

listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
_serve(app, listening)
"""


@pytest.mark.slow
def test_its_end_says_nothing_of_requests_that_it_cuts_off():
    with (
        subprocess.Popen(
            [sys.executable, "-c", UNENDING],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as server,
        socket.create_connection(("127.0.0.1", int(server.stdout.readline()))) as reader,
    ):
        reader.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert server.stdout.readline() == "asked\n"
        server.terminate()
        _, said = server.communicate()

    assert said == ""
