"""What do tests that use a real MLflow share: a project with a store, and each kind of worker?"""

from __future__ import annotations

import copy
import os
import shutil
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from matrices import first_by_default

# What marks, leaves out and orders tests, then what watches them, then what they use.
pytest_plugins = ["tiers", "suites", "order", "unattended", "canary", "compiled", "left_open"]
pytest_plugins += ["apart", "all_flavors", "mlflow_servers", "old_project"]


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


def process_state(before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give what a tracker may change in this process, and has to give back."""
    known = before["environment"] if before else os.environ
    kept = ("DATABRICKS_", "MLFLOW_", "TRACKYARD_")  # SDKs add others for themselves
    environment = {k: v for k, v in os.environ.items() if k in known or k.startswith(kept)}
    environment.pop("PYTEST_CURRENT_TEST", None)
    state: dict[str, Any] = {"folder": Path.cwd(), "environment": environment}
    # What the test itself has imported was not there to be changed.
    if "mlflow" in sys.modules and (before is None or "active run" in before):
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
    monkeypatch.setenv("TRACKYARD_CONTEXT", "0")
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "system-metrics")
    monkeypatch.setenv("TRACKYARD_HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    yield MlflowProject(root, tmp_path / "home", empty_store)
    monkeypatch.undo()
    end = time.monotonic() + 60  # a call that was left alone holds its variables until it gives up
    while (after := process_state(before)) != before and time.monotonic() < end:
        time.sleep(0.05)
    assert after == before


@pytest.fixture(params=first_by_default(["thread", "process"]))
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with each kind of worker; a process ends a minute after its last run."""
    request.getfixturevalue("mlflow_project")  # it sets what most tests need
    monkeypatch.setenv("TRACKYARD_ISOLATION", request.param)
    return str(request.param)
