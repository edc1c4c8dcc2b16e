"""What do the tests of faults share: a project, and small disks? Evidence is read by `evidence`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "modules"))

from evidence import FaultProject


@pytest.fixture(autouse=True)
def _nothing_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # `mlflow_project` undoes the one of the test
        for name in list(os.environ):
            if name.startswith("TRACKYARD_"):
                patch.delenv(name)
        patch.setenv("TRACKYARD_WATCHDOG", "0")
        patch.setenv("TRACKYARD_CONTEXT", "0")
        patch.setenv("TRACKYARD_DISABLE_PLUGINS", "system-metrics")
        patch.setenv("TRACKYARD_PROGRESS", "0")
        yield


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultProject:
    """Make an empty project the working directory."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    return FaultProject(root)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Give a function that mounts a small file system of its own, as only root may."""
    mounted: list[Path] = []

    def mount(options: str, name: str = "disk") -> Path:
        place = tmp_path / name
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small file system needs root and the right to mount")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)
