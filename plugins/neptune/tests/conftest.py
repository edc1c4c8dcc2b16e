"""What do the flavor's tests share: a project, a server, and scripts in processes of their own?"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neptune_server import NeptuneServer
from tracked_project import TrackedProject, new_project

# Seconds for answers of a server that shares a busy machine with other tests.
PATIENCE = 30.0


class NeptuneProject(TrackedProject):
    """A project with one tracker of Neptune's."""

    flavor = "neptune"

    def folder(self) -> Path:
        """Give Neptune's folder of the only offline run."""
        (found,) = self.root.glob(".trackyard/runs/*/team/.neptune/offline/run__*")
        return found

    def operations(self) -> list[dict[str, Any]]:
        lines = (self.folder() / "data-1.log").read_text().splitlines()
        return [json.loads(line)["obj"] for line in lines]

    def neptune_sync(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run Neptune's own command."""
        code = "from neptune.cli.commands import sync; sync()"
        arguments = ["--path", str(folder), "--project", NeptuneServer.PROJECT]
        return self.run("-c", code, *arguments, OAUTHLIB_INSECURE_TRANSPORT="1")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NeptuneProject:
    project = new_project(NeptuneProject, tmp_path, monkeypatch, "NEPTUNE_")
    project.configure(mode="offline")
    return project


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NeptuneServer]:
    with NeptuneServer() as server:
        monkeypatch.setenv("NEPTUNE_API_TOKEN", server.token)
        yield server


@pytest.fixture
def online(
    project: NeptuneProject, server: NeptuneServer, monkeypatch: pytest.MonkeyPatch
) -> NeptuneServer:
    """A server to which the project's tracker sends its runs, however busy the machine is."""
    monkeypatch.setattr("trackyard_neptune.server.PROBE", PATIENCE)
    monkeypatch.setattr("trackyard_neptune.server._REQUEST", PATIENCE)
    os.environ["NEPTUNE_API_TOKEN"] = server.token
    project.configure(project=server.PROJECT)
    return server
