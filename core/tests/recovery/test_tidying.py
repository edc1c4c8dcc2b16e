"""Are journals deleted by themselves where a project says how long they are kept?"""

from __future__ import annotations

from pathlib import Path

import pytest
from recorder import Recorder

from trackyard import Client, start_run
from trackyard.project.configuration import find_project
from trackyard.recovery.tidying import tidy


@pytest.fixture
def folder(project):
    """Give the folder of a run that its tracker has."""
    project.add_tracker("local", Recorder)
    with start_run("old", experiment_tracker="local") as run:
        run.log_metric("loss", 1)
    return find_project().home / "runs" / run.id


def keep(text):
    file = Path("trackyard.toml")
    file.write_text(f'{file.read_text()}\n[journal]\nkeep = "{text}"\n')


def test_without_a_word_everything_is_kept(folder):
    assert not tidy(find_project())
    assert folder.is_dir()


def test_what_is_younger_is_kept(folder):
    keep("30d")

    assert tidy(find_project())
    assert folder.is_dir()


def test_what_is_older_is_deleted_once_a_day(folder):
    keep("0s")

    assert tidy(find_project())
    assert not folder.exists()
    assert [run.name for run in Client().list_runs()] == ["old"]
    assert not tidy(find_project())
