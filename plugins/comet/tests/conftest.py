"""What do the flavor's tests share: a project, and a server?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from comet_server import CometServer
from tracked_project import TrackedProject, new_project

_COLLECTED = ("CODE", "ENV_DETAILS", "GIT_METADATA", "GIT_PATCH", "OUTPUT_LOGGER", "CLI_ARGUMENTS")
SWITCHES = [f"COMET_AUTO_LOG_{what}" for what in _COLLECTED]


class CometProject(TrackedProject):
    """A project with one tracker of Comet's."""

    flavor = "comet"

    def archives(self) -> list[Path]:
        return sorted(self.root.glob(".trackyard/runs/*/team/*.zip"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CometProject:
    project = new_project(CometProject, tmp_path, monkeypatch, "COMET_")
    monkeypatch.setenv("COMET_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("COMET_API_KEY", CometServer.API_KEY)
    for switch in SWITCHES:  # what the SDK collects by itself costs time, and leaves sockets open
        monkeypatch.setenv(switch, "false")
    return project


@pytest.fixture
def comet_ml() -> ModuleType:
    """Comet's SDK; its import takes seconds, which collecting tests shall not."""
    import comet_ml

    return comet_ml


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
