"""What do the tests of core share: a project in a folder of its own, and distributions to find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("core", derandomize=True, database=None, deadline=None)
settings.load_profile("core")

MODULES = Path(__file__).parent / "modules"
sys.path.append(str(MODULES))

RANKS = (
    *("RANK", "LOCAL_RANK", "NODE_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "SLURM_PROCID"),
    *("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK"),
    "JSM_NAMESPACE_RANK",
)


class Workspace:
    """A project folder, which is the working directory, and what its trackers were given."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "trackyard.toml"

    def configure(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8")

    def add_tracker(self, name: str, flavor: type, **fields: Any) -> None:
        """Configure a tracker by the dotted path of its class; it writes to `calls/<name>`."""
        if hasattr(flavor, "calls_file"):
            fields.setdefault("directory", str(self.root / "calls" / name))
        table = {"flavor": f"{flavor.__module__}:{flavor.__qualname__}", **fields}
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        text = "\n".join([f'[experiment_trackers."{name}"]', *lines, ""])
        with self.file.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def calls(self, hook: str | None = None, tracker: str = "local") -> list[dict[str, Any]]:
        """Give the calls of a tracker's hooks, in order."""
        path = self.root / "calls" / tracker / "calls.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        calls = [json.loads(line) for line in lines]
        return [call for call in calls if hook in (None, call["hook"])]

    def hooks(self, tracker: str = "local") -> list[str]:
        """Name the hooks that a tracker's worker called, in order, without repeated `log`."""
        names = [call["hook"] for call in self.calls(tracker=tracker)]
        return [n for i, n in enumerate(names) if n != "log" or names[i - 1 : i] != ["log"]]

    def hooks_by_run(self, tracker: str = "local") -> list[list[str]]:
        """The same for each run, in the order of their starts: a start goes before other work."""
        runs: dict[str, list[str]] = {}
        for call in self.calls(tracker=tracker):
            hooks = runs.setdefault(call["id"], [])
            if call["hook"] != "log" or hooks[-1:] != ["log"]:
                hooks.append(call["hook"])
        return list(runs.values())

    def logged(self, kind: str, tracker: str = "local") -> list[list[Any]]:
        """Give the metrics, params, tags or artifacts that a tracker got, in order."""
        return [record for call in self.calls("log", tracker) for record in call[kind]]

    def python(self, code: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run code in a fresh interpreter in this folder."""
        return self.command(sys.executable, "-c", code, **env)

    def trackyard(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.command(sys.executable, "-m", "trackyard", *arguments, **env)

    def environment(self, **env: str) -> dict[str, str]:
        """Give an environment in which a fresh interpreter finds the tests' modules."""
        paths = [path for path in sys.path if path.startswith(str(self.root))]
        paths += [str(MODULES), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **env}

    def command(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            check=False,
            cwd=self.root,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the environment out; the default tracker's flavor may be installed beside core."""
    for name in list(os.environ):
        if name.startswith("TRACKYARD_") or name in RANKS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "mlflow, system-metrics, mcp, page")
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    monkeypatch.setenv("TRACKYARD_CONTEXT", "0")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make an empty project the working directory."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    return Workspace(root)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Give a function that makes a distribution with its modules and entry points importable."""
    before = set(sys.modules)
    root = tmp_path / "project" / "installed"  # under the project: its subprocesses find it, too

    def install(
        distribution: str,
        modules: dict[str, str] | None = None,
        *,
        version: str = "1.0",
        metadata: str | None = None,
        **groups: dict[str, str],
    ) -> Path:
        site = root / f"{len(list(root.glob('*'))) if root.exists() else 0}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata is None:
            metadata = f"Name: {distribution}\nVersion: {version}\nSummary: {distribution} here\n"
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{metadata}")
        lines = []
        for group, entry_points in groups.items():
            lines.append(f"[trackyard.{group}]")
            lines += [f"{name} = {value}" for name, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, source in (modules or {}).items():
            (site / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        return site

    yield install
    for name in set(sys.modules) - before:
        if str(root) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
