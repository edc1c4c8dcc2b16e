"""What do the tests of third-party flavors share: an environment as their authors have it?

It is made once, with the core of this repository and nothing else of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from environments import Environment

ROOT = Path(__file__).parents[2]
# Packages of their own, whose tests run where they are installed.
collect_ignore = ["trackyard-csv", "trackyard-statuses"]


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
