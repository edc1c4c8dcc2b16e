"""Does a program find the runs of its project?"""

from __future__ import annotations

import pytest
from recorder import Recorder

from trackyard import Client, ConfigError, RunNotFoundError, pipeline, step


@step
def load() -> int:
    return 1


@pipeline
def training():
    load()


@pipeline
def scoring():
    load()


def test_run_is_found_by_name_id_or_prefix(project):
    run = training()
    client = Client()

    for asked in (run.name, run.id, run.name[:12], run.id[:20]):
        assert client.get_pipeline_run(asked).id == run.id


def test_run_that_is_not_there_is_answered_with_the_latest(project):
    run = training()

    with pytest.raises(RunNotFoundError, match=f"the latest are: {run.name}"):
        Client().get_pipeline_run("zebra")


def test_runs_are_listed_the_latest_first(project):
    first, second, third = training(), scoring(), training()
    client = Client()

    assert [run.id for run in client.list_pipeline_runs()] == [third.id, second.id, first.id]
    assert [run.id for run in client.list_pipeline_runs(most=1)] == [third.id]
    assert [run.id for run in client.list_pipeline_runs("scoring")] == [second.id]


def test_client_finds_its_project_from_any_folder(project, tmp_path, monkeypatch):
    project.configure("")
    run = training()
    below = project.root / "deep" / "down"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert Client().get_pipeline_run(run.name).id == run.id

    monkeypatch.chdir(tmp_path)
    client = Client(project.root)
    assert client.get_pipeline_run(run.name).steps["load"].outputs["output"].load() == 1
    assert client.get_pipeline_run(run.name).steps["load"].status == "finished"


def test_client_of_an_empty_project_has_no_runs(project):
    assert Client().list_pipeline_runs() == []


def test_client_knows_the_active_stack(project):
    project.configure('active_stack = "team"\n')
    project.add_tracker("local", Recorder)
    with project.file.open("a") as file:
        file.write('[stacks.team]\nexperiment_trackers = ["local"]\n')
    client = Client()

    assert client.active_stack.name == "team"
    assert client.active_stack.experiment_trackers == ("local",)
    assert repr(client) == f"<Client {project.root / '.trackyard'}>"


def test_client_of_a_wrong_configuration_says_so(project):
    project.configure("[stack.a]")

    with pytest.raises(ConfigError, match="unknown key; did you mean 'stacks'"):
        Client()
