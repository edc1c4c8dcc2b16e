"""What real MLflow servers do tests have? A plugin of pytest.

A server starts in ten seconds: one is shared by all workers of a session, and a server that is to
come late, or to die, is a door before that one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from shared import made_once, shared_folder, shared_program

# Its job runners, which serve LLM features, would be 8 more processes.
SETTINGS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


class MlflowServer:
    """A real `mlflow server`.

    Args:
        folder: Where its store is.
        port: Where it listens.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder / 'server.db'}"
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def command(self) -> list[str]:
        settings = [f"{key}={value}" for key, value in SETTINGS.items()]
        command = ["env", *settings, sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", self.store]
        return [*command, "--artifacts-destination", str(self.folder / "artifacts")]

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=2):
            return True
        return False


class LateServer:
    """A server that a test starts and kills; it refuses connections until then."""

    url: str
    store: str

    def start(self) -> None:
        """Start it, and wait until it answers."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it as a lost machine ends."""
        raise NotImplementedError


class LateProcess(LateServer):
    """A process of its own."""

    def __init__(self, folder: Path) -> None:
        self._reserved = bound_socket()
        self._server = MlflowServer(folder, self._reserved.getsockname()[1])
        self.url, self.store = self._server.url, self._server.store
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._reserved.close()
        with (self._server.folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._server.command(),
                cwd=self._server.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 90
        while not self._server.answers():
            assert time.monotonic() < end, (self._server.folder / "server.log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        self._reserved.close()
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class Door(LateServer):
    """A port before a server that is there: closed, or open and passing on all that comes."""

    def __init__(self, server: MlflowServer) -> None:
        self.store = server.store
        self._server = server
        self._listening = bound_socket()
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._connections: list[socket.socket] = []

    def start(self) -> None:
        if self._listening.fileno() == -1:
            self._listening = bound_socket(self.port)
        self._listening.listen(100)
        Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def kill(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._connections:
            with suppress(OSError):  # reset, as where a process has died
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                come, _ = listening.accept()
                there = socket.create_connection(("127.0.0.1", self._server.port))
                self._connections += [come, there]
                for one, other in ((come, there), (there, come)):
                    Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


def bound_socket(port: int = 0) -> socket.socket:
    """Reserve a port: connections to it are refused until something listens there."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a sqlite store once, to be copied."""

    def make(path: Path) -> None:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{path}").search_experiments()

    return made_once(shared_folder(tmp_path_factory, "mlflow") / "empty.db", make)


@pytest.fixture(scope="session")
def mlflow_server(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[MlflowServer]:
    """Give a running server, shared by all tests: each takes names of its own."""
    folder = shared_folder(tmp_path_factory, "mlflow")

    def place(path: Path) -> None:
        with bound_socket() as reserved:
            path.write_text(json.dumps(reserved.getsockname()[1]))
        shutil.copyfile(empty_store, folder / "server.db")

    server = MlflowServer(folder, json.loads(made_once(folder / "port", place).read_text()))
    with shared_program(folder, server.command, server.answers):
        yield server


@pytest.fixture(params=["door", pytest.param("process", marks=pytest.mark.slow)])
def late_server(
    request: pytest.FixtureRequest, tmp_path: Path, empty_store: Path
) -> Iterator[LateServer]:
    """Give a server that a test starts, and may kill; it refuses connections until then."""
    server: LateServer
    if request.param == "door":
        server = Door(request.getfixturevalue("mlflow_server"))
    else:
        folder = tmp_path / "server"
        folder.mkdir()
        shutil.copyfile(empty_store, folder / "server.db")
        server = LateProcess(folder)
    yield server
    server.kill()


@pytest.fixture
def refusing_server() -> Iterator[str]:
    """Give the URL of a server that refuses connections."""
    with bound_socket() as reserved:
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Give the URL of a server that accepts connections and never answers."""
    with bound_socket() as listening:
        listening.listen(100)  # the kernel accepts; nobody reads
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
