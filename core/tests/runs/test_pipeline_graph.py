"""Is it known of a pipeline run which step needs which?"""

from __future__ import annotations

import pytest

from trackyard import Client, pipeline, step


@step
def load() -> list[int]:
    return [1, 2]


@step
def square(number: int) -> int:
    return number * number


@step
def explode(numbers: list[int]) -> int:
    raise ValueError("no good")


@step
def report(number: int) -> None:
    pass


@pipeline
def training():
    report(explode(square.map(load())))


@pytest.fixture
def run(project):
    with pytest.raises(ValueError, match="no good"):
        training()
    return Client().list_pipeline_runs()[0]


def test_the_graph_has_the_steps_that_were_not_run_and_maps_once(run):
    assert run.graph == {
        "load": (),
        "square": ("load",),
        "explode": ("square",),
        "report": ("explode",),
    }


def test_what_is_kept_of_the_graph_is_no_configuration(run):
    assert run.config == {}


def test_the_graph_of_a_run_of_before_is_what_its_steps_have_read(run):
    run._store.update_pipeline_run(run.id, metadata={})

    assert Client().get_pipeline_run(run.id).graph == {
        "load": (),
        "square": ("load",),
        "explode": ("square",),
        "report": (),
    }


def test_inputs_of_a_step_are_the_outputs_that_it_has_read(run):
    assert [output.load() for output in run.inputs_of("explode")] == [1, 4]
    assert run.inputs_of("load") == []
