"""What do tests of frameworks share: a project, and frameworks that must not be missing in CI?"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
from fnmatch import filter as fitting
from pathlib import Path

import pytest

from trackyard import Client

PAGES = Path(__file__).parents[3] / "docs" / "frameworks"
FILES = re.compile(r"^```\w+\n# ([\w.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROWS = re.compile(r"^\| (param|metric|tag|file|child run) \| (.*?) \|", re.MULTILINE)

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


@pytest.fixture(scope="module")
def address():
    """Give the address of a cluster of Ray's."""
    pytest.importorskip("ray.tune")
    import ray_clusters

    with ray_clusters.only_cluster(), ray_clusters.cluster(num_cpus=3) as address:
        yield address


@pytest.fixture
def shown(project):
    """Give a function that runs a page's training, and checks that what its table says arrives."""

    def shown(page, python, *changes, **variables):
        text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
        for name, content in FILES.findall(text):
            for old, new in changes:
                assert old in content
                content = content.replace(old, new)  # noqa: PLW2901
            (project / name).write_text(content, encoding="utf-8")
        command = [python, "train.py"]
        variables["PYTHONPATH"] = str(project)
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=400,
            env=os.environ | variables,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (row,) = Client().list_runs()
        run = Client().get_run(row.id)
        found = run.children[0] if "| kind of a trial |" in text else run
        arrived = {
            "param": found.all_params,
            "metric": found.metrics,
            "tag": found.steps[0].tags,
            "file": found.artifacts,
            "child run": [child.name for child in found.children],
        }
        rows = ROWS.findall(text)
        named = [(kind, name) for kind, names in rows for name in re.findall(r"`(.*?)`", names)]
        missing = [(kind, name) for kind, name in named if not fitting([*arrived[kind]], name)]
        assert named
        assert missing == []
        assert (run.status, found.status) == ("finished", "finished")

    return shown
