"""How do tests run something in an environment that is not their own?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Environment:
    """A virtual environment apart from the one that the tests run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._uv = os.environ.get("UV") or shutil.which("uv")
        venv.create(folder, with_pip=not self._uv)
        hidden = ("TRACKYARD_", "PYTEST_", "COVERAGE_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONT")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        path = f"{folder / 'bin'}{os.pathsep}{kept['PATH']}"
        self._variables = {**kept, "PATH": path, "TRACKYARD_PROGRESS": "0"}

    def install(self, *what: str | Path, constraints: Path = ROOT / "constraints.txt") -> None:
        """Install distributions, with the releases that a file pins: this repository's."""
        python = str(self.folder / "bin/python")
        pip = [python, "-m", "pip", "install"]
        if self._uv:
            pip = [self._uv, "pip", "install", "--python", python]
        command = [*pip, "--quiet", "--constraint", str(constraints), *map(str, what)]
        done = subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            # What is imported is compiled then, which is little of what is installed.
            env={**self._variables, "UV_COMPILE_BYTECODE": "0"},
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
