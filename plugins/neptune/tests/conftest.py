"""What do the flavor's tests share: a project, a server, and scripts in processes of their own?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neptune_server import NeptuneServer


class NeptuneProject:
    """A project folder, which is the working directory, with one tracker of Neptune's."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def configure(self, **fields: object) -> None:
        lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
        text = "\n".join(["[experiment_trackers.team]", 'flavor = "neptune"', *lines])
        text += '\n[stacks.default]\nexperiment_trackers = ["team"]\n'
        (self.root / "trackyard.toml").write_text(text, encoding="utf-8")

    def folder(self) -> Path:
        """Give Neptune's folder of the only offline run."""
        (found,) = self.root.glob(".trackyard/runs/*/team/.neptune/offline/run__*")
        return found

    def operations(self) -> list[dict[str, Any]]:
        lines = (self.folder() / "data-1.log").read_text().splitlines()
        return [json.loads(line)["obj"] for line in lines]

    def python(self, code: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self._run("-c", code, **env)

    def sync(self) -> subprocess.CompletedProcess[str]:
        return self._run("-m", "trackyard", "sync")

    def neptune_sync(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run Neptune's own command."""
        code = "from neptune.cli.commands import sync; sync()"
        arguments = ["--path", str(folder), "--project", NeptuneServer.PROJECT]
        return self._run("-c", code, *arguments, OAUTHLIB_INSECURE_TRANSPORT="1")

    def _run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=self.root,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=90,
        )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NeptuneProject:
    for name in [name for name in os.environ if name.startswith(("TRACKYARD_", "NEPTUNE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKYARD_PROGRESS", "0")
    # A worker process would import the SDK anew for each test.
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    project = NeptuneProject(root)
    project.configure(mode="offline")
    return project


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NeptuneServer]:
    with NeptuneServer() as server:
        monkeypatch.setenv("NEPTUNE_API_TOKEN", server.token)
        yield server


@pytest.fixture
def online(project: NeptuneProject, server: NeptuneServer) -> NeptuneServer:
    """A server to which the project's tracker sends its runs."""
    os.environ["NEPTUNE_API_TOKEN"] = server.token
    project.configure(project=server.PROJECT)
    return server
