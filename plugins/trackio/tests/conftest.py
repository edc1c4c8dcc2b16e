"""What do the tests share: a project, Trackio's own view of its runs, and a real server?"""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tracked_project import TrackedProject, new_project

SERVER = """
import os, sys
os.environ["TRACKIO_DIR"], os.environ["TRACKIO_WRITE_TOKEN"] = sys.argv[1], "write-token"
import trackio
trackio.show(host="127.0.0.1", server_port=int(sys.argv[2]), open_browser=False, block_thread=True)
"""


class Board(TrackedProject):
    """A project, and what is in Trackio's sqlite files."""

    flavor = "trackio"
    name = "board"

    def __init__(self, root: Path, home: Path | None = None) -> None:
        super().__init__(root)
        self.folder = (home or root.parent / "home") / "trackio"

    def query(self, sql: str, project: str = "default") -> list[Any]:
        with closing(sqlite3.connect(self.folder / f"{project}.db")) as connection:
            return connection.execute(sql).fetchall()

    def rows(self, run_id: str, project: str = "default") -> list[tuple[int, dict[str, Any]]]:
        """Give step and values of each row that has some."""
        sql = f"SELECT step, metrics FROM metrics WHERE run_id = '{run_id}' ORDER BY id"
        found = [(step, json.loads(text)) for step, text in self.query(sql, project)]
        return [(step, values) for step, values in found if values]

    def values(self, run_id: str, key: str, project: str = "default") -> list[tuple[int, Any]]:
        return [(step, v[key]) for step, v in self.rows(run_id, project) if key in v]

    def config(self, run_id: str, project: str = "default") -> dict[str, Any]:
        ((text,),) = self.query(f"SELECT config FROM configs WHERE run_id = '{run_id}'", project)
        return json.loads(text)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Make a project with the tracker `board` the working directory."""
    board = new_project(Board, tmp_path, monkeypatch, "TRACKIO_")
    monkeypatch.setenv("TRACKYARD_HOME", str(tmp_path / "home"))
    board.configure()
    return board


class TrackioServer:
    """A real Trackio server in a process of its own; refused until it is started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is None:
            command = [sys.executable, "-c", SERVER, str(self.folder), str(self.port)]
            null = subprocess.DEVNULL
            self._process = subprocess.Popen(command, stdout=null, stderr=null, stdin=null)
        end = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/version", timeout=5):
                    return
            except OSError:
                assert time.monotonic() < end, "the server does not answer"
                time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackioServer]:
    server = TrackioServer(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def server(
    started: TrackioServer, board: Board, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TrackioServer]:
    """A running server, to which the project's tracker sends its runs."""
    monkeypatch.setenv("SERVER_TOKEN", "write-token")
    started.start()
    board.configure(server_url=started.url, token="env:SERVER_TOKEN")
    return started


@pytest.fixture
def on_server(server: TrackioServer) -> Board:
    """What the server has, by its files."""
    view = Board(server.folder, server.folder)
    view.folder = server.folder
    return view
