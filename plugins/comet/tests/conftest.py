"""What do the flavor's tests share: a project, a server, and scripts in processes of their own?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from comet_server import CometServer


class CometProject:
    """A project folder, which is the working directory, with one tracker of Comet's."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def configure(self, **fields: object) -> None:
        lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
        text = "\n".join(["[experiment_trackers.team]", 'flavor = "comet"', *lines])
        text += '\n[stacks.default]\nexperiment_trackers = ["team"]\n'
        (self.root / "trackyard.toml").write_text(text, encoding="utf-8")

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        return self._run("-c", code)

    def sync(self) -> subprocess.CompletedProcess[str]:
        return self._run("-m", "trackyard", "sync")

    def archives(self) -> list[Path]:
        return sorted(self.root.glob(".trackyard/runs/*/team/*.zip"))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=90,
        )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CometProject:
    for name in [name for name in os.environ if name.startswith(("TRACKYARD_", "COMET_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKYARD_PROGRESS", "0")
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    monkeypatch.setenv("COMET_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("COMET_API_KEY", CometServer.API_KEY)
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    return CometProject(root)


@pytest.fixture
def server() -> Iterator[CometServer]:
    with CometServer() as server:
        yield server


@pytest.fixture
def online(project: CometProject, server: CometServer) -> CometServer:
    """A server to which the project's tracker sends its runs."""
    project.configure(url=server.url, workspace="acme", project="fraud")
    return server


@pytest.fixture
def offline(project: CometProject) -> CometProject:
    project.configure(mode="offline", workspace="acme", project="fraud", url="http://127.0.0.1:9")
    return project
