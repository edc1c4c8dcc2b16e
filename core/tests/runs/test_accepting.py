"""What is accepted by naming a run: also of steps that have no journal here?"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from trackyard import Client, RunNotFoundError, pipeline, step
from trackyard.cli.main import cli
from trackyard.contract import StoredOutput
from trackyard.outputs.keeping import KeptOutputs
from trackyard.project.configuration import find_project

URL = "s3://away/outputs"


@step
def first() -> int:
    return 1


@step
def second(value: int) -> int:
    return value + 1


def keep(home, step_id: str) -> None:
    """Have an output of a step wait for a store."""
    kept = KeptOutputs(home)
    uri = f"{URL}/{step_id}/output.json"
    kept.make_folder(uri).write_text("1")
    kept.note(URL, StoredOutput(uri, "json", 1, "0" * 64))


@pytest.fixture
def run(project):
    """A pipeline run without a tracker, both of whose steps have an output that waits."""
    run = pipeline(lambda: second(first()), name="etl")()
    for found in run.steps.values():
        keep(project.root / ".trackyard", found.id)
    return run


def accepted() -> set[str]:
    return {kept.run_id for kept in KeptOutputs(find_project().home) if kept.is_accepted}


def ids(run) -> dict[str, str]:
    return {name: found.id for name, found in run.steps.items()}


def test_a_pipeline_run_is_accepted_with_the_outputs_of_steps_without_a_folder(run, project):
    assert not list((project.root / ".trackyard").glob("runs/*"))

    rows = Client().accept_losses(run.name)

    assert {(row.id, row.state) for row in rows} == {(id_, "accepted") for id_ in ids(run).values()}
    assert accepted() == set(ids(run).values())


@pytest.mark.parametrize("by", ["name", "id", "prefix"])
def test_one_step_is_accepted_and_the_other_one_still_counts(run, by):
    first = ids(run)["first"]
    word = {"name": "first", "id": first, "prefix": first[:-2]}[by]
    done = CliRunner().invoke(cli, ["sync", "--accept", word, "--json"])

    assert (done.exit_code, [row["id"] for row in json.loads(done.stdout)]) == (0, [first])
    assert accepted() == {first}
    assert CliRunner().invoke(cli, ["sync"]).exit_code == 1


def test_a_name_that_nothing_bears_accepts_nothing(run):
    with pytest.raises(RunNotFoundError, match="no run has the name"):
        Client().accept_losses("none")

    assert accepted() == set()


def test_without_its_store_a_step_is_accepted_by_its_id(run, project):
    (project.root / ".trackyard" / "store.db").unlink()
    first = ids(run)["first"]
    Client().accept_losses(first)

    assert accepted() == {first}
