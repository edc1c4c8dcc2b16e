"""Does a run that its SDK keeps offline reach the server when the user says so, and once?"""

from __future__ import annotations

import json

import pytest
from keeper import Keeper

from trackyard import start_run
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import find_pending_runs
from trackyard.recovery.syncing import find_kept_offline


@pytest.fixture
def kept(project):
    """A run that is whole, but for the upload."""
    project.add_tracker("local", Keeper)
    with start_run("baseline") as run:
        run.log_metric("a", 1)
    assert project.hooks() == ["start", "log", "end"]
    return project


def sync(project):
    result = project.trackyard("sync", "--json")
    return result.returncode, json.loads(result.stdout)


def test_run_that_is_kept_offline_is_complete_for_core(kept):
    project = find_project()

    assert find_pending_runs(project) == []
    assert [found.description.run.name for found in find_kept_offline(project)] == ["baseline"]


def test_sync_uploads_it_once(kept):
    code, (row,) = sync(kept)

    assert code == 0
    assert (row["run"], row["state"], row["problem"]) == ("baseline", "uploaded", "")
    assert row["url"] == f"https://tracker.test/{row['id']}"
    assert sync(kept) == (0, [])
    (call,) = kept.calls("sync")
    assert call["attached"] is True


def test_run_that_could_not_be_uploaded_stays_and_is_named(kept):
    refused = kept.root / "refused"
    refused.touch()
    code, (row,) = sync(kept)

    assert code == 1
    assert row["state"] == "incomplete"
    assert "the server is away" in row["problem"]
    refused.unlink()
    assert sync(kept)[1][0]["state"] == "uploaded"


def test_run_whose_folder_is_gone_is_forgotten(kept):
    (run,) = find_kept_offline(find_project())
    (run.folder / "run.json").unlink()

    assert find_kept_offline(find_project()) == []
    assert list((kept.root / ".trackyard" / "offline").iterdir()) == []
