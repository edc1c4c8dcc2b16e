"""What do tests share that read what older versions left: a copy of such a project?"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from trackyard.cli.main import cli

PROJECTS = Path(__file__).parent.parent / "old_projects"
VERSIONS = sorted(path.parent.name for path in PROJECTS.glob("*/project.tar.gz"))


class OldProject:
    """A copy of a project in another folder than the one that it was made in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def type(self, *arguments: str) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(cli, arguments)

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Give what a command writes with `--json`."""
        result = self.type(*arguments, "--json")
        assert (result.exit_code, result.stderr) == (code, result.stderr if code else ""), result
        return json.loads(result.stdout)

    def kept(self, directory: str) -> dict[str, Any]:
        """Give what a tracker was given of each run, by the run's name."""
        files = (self.root / directory).glob("*.json")
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        return {kept["name"]: kept for kept in found}


@pytest.fixture(scope="session", params=VERSIONS)
def unpacked_project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Unpack a version's project once."""
    root = tmp_path_factory.mktemp("unpacked") / "project"
    with tarfile.open(PROJECTS / request.param / "project.tar.gz") as archive:
        archive.extractall(root, filter="data")
    return root


@pytest.fixture
def own_modules() -> Iterator[None]:
    """Have a project of here import its own modules; others of the same names come back."""
    names = [path.stem for path in (PROJECTS / "project").glob("*.py")]
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    yield
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)


@pytest.fixture
def old_project(
    unpacked_project: Path, tmp_path: Path, own_modules: None, monkeypatch: pytest.MonkeyPatch
) -> OldProject:
    """Make a copy the working directory."""
    root = tmp_path / "moved"
    shutil.copytree(unpacked_project, root)
    for name, value in {
        "XDG_CONFIG_HOME": str(tmp_path / "nothing"),
        "TRACKYARD_ISOLATION": "thread",
        "TRACKYARD_WATCHDOG": "0",
        "TRACKYARD_CONTEXT": "0",
    }.items():
        monkeypatch.setenv(name, value)
    # Recovery in the background would change what the test looks at.
    (root / ".trackyard" / "recovery.stamp").touch()
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root)
    return OldProject(root)
