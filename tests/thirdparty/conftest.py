"""What do the tests of third-party flavors share: an environment as their authors have it?

It is made once, with the core of this repository and nothing else of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A package of its own, whose tests run where it is installed.
collect_ignore = ["trackyard-csv"]


class Environment:
    """A virtual environment apart from the one that the tests run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._uv = os.environ.get("UV") or shutil.which("uv")
        venv.create(folder, with_pip=not self._uv)
        hidden = ("TRACKYARD_", "PYTEST_", "COVERAGE_", "VIRTUAL_ENV", "PYTHONPATH")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        path = f"{folder / 'bin'}{os.pathsep}{kept['PATH']}"
        self._variables = {**kept, "PATH": path, "TRACKYARD_PROGRESS": "0"}

    def install(self, *what: str | Path) -> None:
        """Install distributions, with the releases that this repository pins."""
        python = str(self.folder / "bin/python")
        pip = [python, "-m", "pip", "install"]
        if self._uv:
            pip = [self._uv, "pip", "install", "--python", python]
        command = [*pip, "--quiet", "--constraint", str(ROOT / "constraints.txt"), *map(str, what)]
        done = subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            env=self._variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    def install_wheel_of(self, package: Path) -> None:
        """Build a package's wheel and install it."""
        target = self.folder / "wheels" / package.name
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
        subprocess.run(command, check=True, cwd=package, capture_output=True)
        self.install(*target.glob("*.whl"))

    def run(
        self, *command: str, folder: Path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in a folder."""
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            check=False,
            cwd=folder,
            env={**self._variables, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def succeed(self, *command: str, folder: Path, **variables: str) -> str:
        """Run a command that has to succeed, and give what it wrote."""
        done = self.run(*command, folder=folder, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Make an environment with core, and what an author of a flavor installs beside it."""
    environment = Environment(tmp_path_factory.mktemp("environment") / "venv")
    environment.install("--editable", f"{ROOT / 'core'}[testing]", "mypy", "ruff")
    return environment


@pytest.fixture(scope="session")
def csv_installed(environment: Environment) -> Environment:
    """Give the environment with `trackyard-csv` in it."""
    environment.install_wheel_of(Path(__file__).parent / "trackyard-csv")
    return environment
