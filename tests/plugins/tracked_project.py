"""How does a test of a flavor get a project of its own, and programs in it?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from trackyard.testing import MemoryTracker
from trackyard.testing.workbench import to_toml


class TrackedProject:
    """A project folder, which is the working directory, with one tracker.

    A subclass names the flavor, and looks into what its backend holds.
    """

    flavor: ClassVar[str]
    name: ClassVar[str] = "team"

    def __init__(self, root: Path) -> None:
        self.root = root

    def configure(self, **fields: Any) -> None:
        """Write the tracker's fields; it is the only one of the active stack."""
        patience = {"start_timeout": 60, "flush_timeout": 60}  # the machine may be busy
        text = to_toml({self.name: {"flavor": self.flavor, **patience, **fields}})
        text += f'[stacks.default]\nexperiment_trackers = ["{self.name}"]\n'
        (self.root / "trackyard.toml").write_text(text, encoding="utf-8")

    def add_memory_tracker(self) -> None:
        """Add the tracker `memory`, which shows what another tracker than its own gets of a run."""
        with (self.root / "trackyard.toml").open("a", encoding="utf-8") as file:
            file.write('[experiment_trackers.memory]\nflavor = "trackyard.testing:MemoryTracker"\n')
        MemoryTracker.runs.clear()

    def python(self, code: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run code in a fresh interpreter."""
        return self.run("-c", code, **env)

    def trackyard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.run("-m", "trackyard", *arguments)

    def sync(self) -> subprocess.CompletedProcess[str]:
        """Deliver what is left, as a user does, with patience for a busy machine."""
        return self.trackyard("sync", "--patience", "60")

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run Python with arguments."""
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=self.root,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=90,
        )


Project = TypeVar("Project", bound=TrackedProject)


def new_project(
    kind: type[Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *prefixes: str
) -> Project:
    """Make an empty project the working directory.

    Args:
        kind: The flavor's own kind of project.
        tmp_path: Where to make it.
        monkeypatch: Gives back what is changed.
        prefixes: Those of the SDK's environment variables, which are cleared.
    """
    for name in [name for name in os.environ if name.startswith(("TRACKYARD_", *prefixes))]:
        monkeypatch.delenv(name)
    for name in ("CONTEXT", "PROGRESS", "WATCHDOG"):
        monkeypatch.setenv(f"TRACKYARD_{name}", "0")
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "system-metrics")
    # A worker process would import the SDK anew for each test; those that need one say so.
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    return kind(root)
