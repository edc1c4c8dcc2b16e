"""What do tests of frameworks share: a project, and frameworks that must not be missing in CI?"""

from __future__ import annotations

import importlib
import os

import pytest

CONFIGURATION = """
[experiment_trackers.memory]
flavor = "trackyard.testing:MemoryTracker"
[stacks.default]
experiment_trackers = ["memory"]
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("TRACKYARD_")]:
        monkeypatch.delenv(name)
    for name in ("CONTEXT", "PROGRESS", "WATCHDOG"):
        monkeypatch.setenv(f"TRACKYARD_{name}", "0")
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "system-metrics")
    monkeypatch.setenv("TRACKYARD_ISOLATION", "thread")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "trackyard.toml").write_text(CONFIGURATION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def framework():
    """Give a function that imports a framework; where one is missing a test skips, but in CI."""
    required = os.environ.get("ENGINES_REQUIRED")
    return importlib.import_module if required else pytest.importorskip


@pytest.fixture(scope="session")
def torch_python():
    """Give the interpreter of the environment with torch, which `.ci/long` makes."""
    python = os.environ.get("TORCH_PYTHON")
    if python is None:
        said = "set TORCH_PYTHON to a Python with torch, as .ci/long does"
        pytest.fail(said) if os.environ.get("ENGINES_REQUIRED") else pytest.skip(said)
    return python
