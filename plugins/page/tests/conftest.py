"""A project with what a page has to show, made once for a file of tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from trackyard import Client
from trackyard_page.access import Access
from trackyard_page.app import new_app

HOME = "http://127.0.0.1:8642"
PROGRAM = Path(__file__).parent / "filled_project.py"


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """The folder of a project with pipelines and runs, some with hostile names."""
    root = tmp_path_factory.mktemp("filled")
    (root / "trackyard.toml").write_text("[stacks.default]\nexperiment_trackers = []\n")
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        check=False,
        cwd=root,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return root


def clean_environment():
    import os

    kept = {k: v for k, v in os.environ.items() if not k.startswith("TRACKYARD_")}
    return {**kept, "TRACKYARD_PROGRESS": "0", "TRACKYARD_WATCHDOG": "0"}


@pytest.fixture(scope="session")
def ids(filled):
    """The ids of its runs, by name; of pipelines' runs by the pipeline."""
    found = Client(filled).search_runs("", limit=1000)
    return {run.pipeline if run.kind == "pipeline" else run.name: run.id for run in found}


@pytest.fixture
def reader(filled):
    """A reader of that project's page who has the token."""
    return reader_of(filled)


@pytest.fixture
def editor(filled):
    """A reader whom the page lets change runs."""
    return reader_of(filled, allow_changes=True)


def reader_of(root, **options):
    app = new_app(root, Access(token="secret"), **options)
    headers = {"authorization": "Bearer secret"}
    return TestClient(app, base_url=HOME, headers=headers, follow_redirects=False)
