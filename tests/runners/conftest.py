"""What do the tests of other people's runners share: their engines?

An engine has an environment of its own: what it pins is not what ours are pinned to.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from environments import ROOT, Environment


def engine(folder: Path, requirements: str) -> Environment:
    """Make an environment with engines, and with the core of this repository."""
    environment = Environment(folder / "venv")
    pinned = Path(__file__).parent / requirements
    try:
        environment.install("--editable", ROOT / "core", "-r", pinned, constraints=pinned)
    except AssertionError as error:
        if os.environ.get("ENGINES_REQUIRED"):  # as in CI
            raise
        pytest.skip(f"{requirements} cannot be installed here: {str(error)[-300:]}")
    return environment


@pytest.fixture(scope="session")
def prefect_and_dagster(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return engine(tmp_path_factory.mktemp("prefect"), "prefect.txt")


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return engine(tmp_path_factory.mktemp("airflow"), "airflow.txt")
