"""Are the outputs of steps found by name and version?"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import pytest
from odd_values import Fit
from small_steps import load, total

from trackyard import (
    Client,
    OutputNotFoundError,
    PipelineError,
    pipeline,
    step,
)


def test_output_is_found_by_name_and_version(project):
    @pipeline
    def adding(rows=2):
        total(load(rows))

    first, second = adding(), adding(3)
    client = Client()
    latest, earlier = client.get_output("total.output"), client.get_output("total.output", 1)

    assert (latest.version, latest.load()) == (2, 3)
    assert (earlier.version, earlier.load()) == (1, 1)
    assert latest.made_by.id == second.steps["total"].id
    (reader,) = client.get_output("adding.load.output", 1).read_by
    assert reader.id == first.steps["total"].id
    assert [found.version for found in client.list_outputs("total.output")] == [2, 1]
    assert len(client.list_outputs()) == 2
    assert "version 2" in repr(latest)
    with pytest.raises(OutputNotFoundError, match="has no version 9; the latest is 2"):
        client.get_output("total.output", 9)


def test_parts_of_a_mapped_step_have_read_what_it_maps(project):
    @step
    def items() -> list:
        return [1, 2]

    @step
    def double(item: int) -> int:
        return 2 * item

    @pipeline
    def mapping():
        double.map(items())

    run = mapping()
    readers = Client().get_output("items.output").read_by
    assert {reader.id for reader in readers} == {run.steps[f"double[{n}]"].id for n in (0, 1)}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((None,), "name is a text such as 'training.train.output', not None"),
        (("",), "not ''"),
        (("load.output", True), "version is a whole number from 1, .*, not True"),
        (("load.output", "1"), "not '1'"),
        (("load.output", 0), "not 0"),
    ],
)
def test_wrong_name_or_version_of_an_output_is_named(project, arguments, problem):
    pipeline(lambda: load(2))()

    with pytest.raises(OutputNotFoundError, match=problem):
        Client().get_output(*arguments)
    if len(arguments) == 1 and arguments[0] is not None:
        with pytest.raises(OutputNotFoundError, match=problem):
            Client().list_outputs(*arguments)


@pytest.mark.parametrize("orchestrator", ["local", "process"])
def test_fields_of_a_named_tuple_are_outputs(project, orchestrator):
    project.configure(f'[stacks.default]\norchestrator = "{orchestrator}"\n')

    @step
    def train() -> Fit:
        return Fit("tree", 0.5)

    @step
    def show(fit) -> str:
        return f"{type(fit).__name__} {fit.model}"

    @step
    def echo(value) -> object:
        return value

    @pipeline
    def fitting():
        fit = train()
        model, _ = fit
        show(fit)
        echo(fit.score)
        echo([model])
        show(Fit(model, 1.0))

    steps = fitting().steps
    assert {name: o.load() for name, o in steps["train"].outputs.items()} == {
        "model": "tree",
        "score": 0.5,
    }
    loaded = [steps[name].outputs["output"].load() for name in list(steps)[1:]]
    assert loaded == ["Fit tree", 0.5, ["tree"], "Fit tree"]
    assert len(Client().get_output("train.model").read_by) == 3


def test_field_that_a_named_tuple_lacks_is_named(project):
    @step
    def train() -> Fit:
        return Fit("tree", 0.5)

    @step
    def named() -> NamedTuple("Person", [("name", str), ("age", int)]):
        pytest.fail("it was run")

    with pytest.raises(AttributeError, match="output of step 'train' has no 'modle'"):
        pipeline(lambda: load(train().modle))()
    with pytest.raises(PipelineError, match="an output cannot be called 'name'; rename it"):
        pipeline(named)()


@pytest.mark.parametrize(
    "annotation",
    [
        tuple[int, int] | None,
        tuple[int, ...],
        dict[str, int],
        TypedDict("Both", {"a": int}),
        Fit | None,
    ],
    ids=str,
)
def test_other_annotations_are_of_one_output(project, annotation):
    def both():
        return 1, 2

    both.__annotations__["return"] = annotation
    outputs = pipeline(step(both))().steps["both"].outputs

    assert {name: output.load() for name, output in outputs.items()} == {"output": (1, 2)}
