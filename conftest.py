"""What do tests that use a real MLflow share: a project with a store, and a server?

A new sqlite store takes MLflow two seconds to make, and a server starts in ten: the store is made
once and copied, and servers are shared by the tests of a module.
"""

from __future__ import annotations

import copy
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from matrices import first_by_default

pytest_plugins = ["tiers", "unattended", "canary", "all_flavors", "suites", "old_project"]


class MlflowProject:
    """A project folder, which is the working directory, and MLflow's own view of its runs.

    Nothing here reads Trackyard's objects: runs are looked up with a client of MLflow's.
    """

    def __init__(self, root: Path, home: Path, empty_store: Path) -> None:
        self.root = root
        self.home = home
        self._empty_store = empty_store
        self.store = self.new_store(home / "mlflow.db")

    def configure(self, text: str) -> None:
        (self.root / "trackyard.toml").write_text(text, encoding="utf-8")

    def new_store(self, path: Path) -> str:
        """Make one more sqlite store and give its tracking URI."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._empty_store, path)
        return f"sqlite:///{path}"

    def client(self, tracking_uri: str | None = None) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri or self.store)

    def runs(self, tracking_uri: str | None = None) -> list[Any]:
        """Give every run that MLflow knows, whatever its experiment."""
        client = self.client(tracking_uri)
        experiments = [found.experiment_id for found in client.search_experiments()]
        return list(client.search_runs(experiments, max_results=1000))

    def run(self, name: str, tracking_uri: str | None = None) -> Any:
        """Give the only run of a name."""
        (found,) = [run for run in self.runs(tracking_uri) if run.info.run_name == name]
        return found

    def statuses(self, tracking_uri: str | None = None) -> dict[str, str]:
        """Give the status of each run by its name; two runs of a name are an error."""
        names = [run.info.run_name for run in self.runs(tracking_uri)]
        assert len(names) == len(set(names)), names
        return {run.info.run_name: run.info.status for run in self.runs(tracking_uri)}

    def artifact(self, run: Any, name: str, tracking_uri: str | None = None) -> bytes:
        """Download an artifact with MLflow's client."""
        folder = self.root.parent / "downloads" / run.info.run_id
        folder.mkdir(parents=True, exist_ok=True)
        client = self.client(tracking_uri)
        return Path(client.download_artifacts(run.info.run_id, name, str(folder))).read_bytes()


class MlflowServer:
    """A real `mlflow server` on a port of its own; refused until it is started."""

    def __init__(self, folder: Path, empty_store: Path) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder / 'server.db'}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(empty_store, folder / "server.db")
        self._reserved = bound_socket()
        self.port = self._reserved.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None:
            return
        self._reserved.close()
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host"]
        command += ["127.0.0.1", "--port", str(self.port), "--backend-store-uri", self.store]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        # Its job runners, which serve LLM features, would be 8 more processes.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, seconds: float = 90.0) -> None:
        """Wait until it answers."""
        end = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):  # noqa: S310
                    return
            except OSError:
                assert time.monotonic() < end, (self.folder / "server.log").read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        """Kill it and its workers, as a lost machine would."""
        self._reserved.close()
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def bound_socket() -> socket.socket:
    """Reserve a port: connections to it are refused until something listens there."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def pytest_configure() -> None:
    """Before any test module imports MLflow, which looks at it then."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write lone surrogates, which tests log on purpose, so that pytest-xdist can send them."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a sqlite store once, to be copied."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def process_state(before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give what a tracker may change in this process, and has to give back."""
    known = before["environment"] if before else os.environ
    kept = ("DATABRICKS_", "MLFLOW_", "TRACKYARD_")  # SDKs add others for themselves
    environment = {k: v for k, v in os.environ.items() if k in known or k.startswith(kept)}
    environment.pop("PYTEST_CURRENT_TEST", None)
    state: dict[str, Any] = {"folder": Path.cwd(), "environment": environment}
    if "mlflow" in sys.modules:
        import mlflow
        from mlflow.tracking._tracking_service import utils
        from mlflow.utils import autologging_utils

        state["active run"] = mlflow.active_run()
        state["tracking URI"] = utils._tracking_uri  # noqa: SLF001
        state["autologging"] = copy.deepcopy(autologging_utils.AUTOLOGGING_INTEGRATIONS)
    return state


@pytest.fixture
def mlflow_project(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MlflowProject]:
    """Make an empty project the working directory; its embedded store is ready.

    Whatever the test did, the process is then as it was before it.
    """
    before = process_state()
    for name in [name for name in os.environ if name.startswith("TRACKYARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKYARD_PROGRESS", "0")
    # A worker process would import MLflow anew for each test; those that need one say so.
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    monkeypatch.setenv("TRACKYARD_HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    yield MlflowProject(root, tmp_path / "home", empty_store)
    monkeypatch.undo()
    end = time.monotonic() + 8  # a call that was left alone holds its variables until it gives up
    while (after := process_state(before)) != before and time.monotonic() < end:
        time.sleep(0.05)
    assert after == before


@pytest.fixture(scope="module")
def late_server(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[MlflowServer]:
    """Give a server that a test starts, and may kill; it refuses connections until then."""
    server = MlflowServer(tmp_path_factory.mktemp("late-server"), empty_store)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def mlflow_server(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[MlflowServer]:
    """Give a running server, shared by all tests."""
    server = MlflowServer(tmp_path_factory.mktemp("server"), empty_store)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=first_by_default(["thread", "process"]))
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with each kind of worker; a process ends a minute after its last run."""
    request.getfixturevalue("mlflow_project")  # it sets what most tests need
    monkeypatch.setenv("TRACKYARD_ISOLATION", request.param)
    return str(request.param)


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
