"""Do tags, notes and names that a run gets after its end stand here, and on its trackers?"""

from __future__ import annotations

import json

import pytest
from filing import Filing

from trackyard import Client, TrackyardError, pipeline, start_run, step
from trackyard.journal.summaries import kept_summary
from trackyard.project.configuration import find_project
from trackyard.recovery.indexing import rebuild_index
from trackyard.runs.annotating import annotate_run
from trackyard.store.annotations import Annotation


@pytest.fixture
def filed(project):
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    return project


def on_tracker(project, run_id):
    return json.loads((project.root / "filed" / f"{run_id}.json").read_text())["tags"]


def test_a_run_that_has_ended_is_tagged_here_and_on_its_tracker(filed):
    with start_run("first", tags={"stage": "test"}) as run:
        run.log_metric("loss", 0.5)
    (sent,) = Client().set_tags("first", {"stage": "prod", "good": True})
    assert (sent.tracker, sent.state, sent.problem) == ("filed", "sent", "")
    assert on_tracker(filed, run.id)["stage"] == "prod"
    assert on_tracker(filed, run.id)["trackyard.status"] == "finished"
    view = Client().get_run("first")
    assert view.tags == view.steps[0].tags == {"stage": "prod", "good": "True"}
    assert [f.id for f in Client().search_runs("tags.stage = 'prod'")] == [run.id]


def test_a_tag_after_the_end_has_no_point_read_again(filed):
    with start_run("first") as run:
        run.log_metric("loss", 0.5)
    Client().set_tags("first", {"a": "b"})
    summary = kept_summary(find_project().home / "runs" / run.id)
    assert summary is not None
    assert summary.tags["a"] == "b"


def test_a_note_and_a_name_outlive_a_store_that_is_made_anew(filed):
    with start_run("first") as run:
        pass
    client = Client()
    client.set_note("first", "the good one")
    client.rename_run("first", "best")
    assert on_tracker(filed, run.id)["trackyard.note"] == "the good one"
    (filed.root / ".trackyard" / "store.db").unlink()
    rebuild_index(find_project())
    view = Client().get_run("best")
    assert (view.id, view.name, view.note, view.tags) == (run.id, "best", "the good one", {})
    assert [row.name for row in Client().list_runs()] == ["best"]


def test_what_a_tracker_that_is_away_lacks_is_pending(filed):
    with start_run("first") as run:
        pass
    folder = filed.root / "filed"
    folder.rename(filed.root / "elsewhere")
    folder.write_text("a file where the tracker has its folder")
    client = Client()
    said, found = Annotation({"a": "b"}), client._find("first")
    (sent,) = annotate_run(find_project(), client._store, found, said, patience=0.1)
    assert sent.state == "pending"
    folder.unlink()
    (filed.root / "elsewhere").rename(folder)
    Client().sync()
    assert on_tracker(filed, run.id)["a"] == "b"


def test_a_pipeline_run_is_tagged_and_renamed_and_a_step_keeps_its_name(project):
    @step
    def fit() -> int:
        return 1

    @pipeline
    def training():
        fit()

    run = training()
    client = Client()
    assert client.set_tags(run.id, {"good": "yes"}) == []
    client.rename_run(run.id, "best")
    view = client.get_run("best")
    assert (view.id, view.tags) == (run.id, {"good": "yes"})
    with pytest.raises(TrackyardError, match="keeps the name that its pipeline gave it"):
        client.rename_run(view.steps[0].id, "other")


@pytest.mark.parametrize("tags", [{}, {"": "x"}, {"trackyard.status": "finished"}])
def test_what_is_no_tag_is_refused(project, tags):
    with start_run("first"):
        pass
    with pytest.raises(TrackyardError, match=r"tags are given|is no key of a tag"):
        Client().set_tags("first", tags)


def test_a_secret_in_a_note_is_hidden(filed):
    with start_run("first"):
        pass
    Client().set_note("first", "password=hunter2hunter2")
    assert "hunter2" not in str(Client().get_run("first").note)


def test_something_is_said_of_an_output_later(project):
    @step
    def fit() -> int:
        return 1

    @pipeline
    def training():
        fit()

    training()
    output = Client().get_output("fit.output")
    assert output.metadata == {}
    output.set_metadata({"rows": 10, "folder": project.root})
    output.set_metadata({"rows": 11, "call": "password=hunter2hunter2"})
    said = {"rows": 11, "folder": str(project.root), "call": "password=***"}
    assert Client().get_output("fit.output").metadata == said
    training()
    assert Client().get_output("fit.output").metadata == {}
