"""Does the version of an output have what its step has said of it?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from matrices import first_by_default

from trackyard import Client, pipeline, set_output_metadata, start_run, step


@pytest.mark.parametrize("orchestrator", first_by_default(["local", "process"]))
def test_something_is_said_of_an_output_by_its_step(project, caplog, orchestrator):
    project.configure(f'[stacks.default]\norchestrator = "{orchestrator}"\n')

    @step
    def split() -> tuple[Annotated[int, "train"], Annotated[int, "test"]]:
        set_output_metadata({"rows": 10, "folder": Path("data")}, output="train")
        with start_run("look", nested=True):
            set_output_metadata({"rows": 11, "call": "password=hunter2hunter2"}, output="train")
        set_output_metadata({"rows": 1})
        set_output_metadata({"rows": 1}, "valid")
        set_output_metadata(7, "test")
        return 1, 2

    @step
    def fit(train: int) -> int:
        set_output_metadata({"rows": train})
        return 1

    @pipeline
    def training():
        train, _ = split()
        fit(train)

    training()
    train = Client().get_output("training.split.train").metadata
    assert train == {"rows": 11, "folder": "data", "call": "password=***"}
    assert Client().get_output("training.split.test").metadata == {}
    assert Client().get_output("fit.output").metadata == {"rows": 1}
    if orchestrator == "local":
        said = [text for text in caplog.messages if text.startswith("set_output_metadata")]
        assert [text.partition(",")[0] for text in said] == [
            "set_output_metadata names no output",
            "set_output_metadata names 'valid'",
            "set_output_metadata takes a dict of keys and values",
        ]


def test_something_said_of_an_output_where_no_step_runs_is_one_warning(project, caplog):
    with start_run("block"):
        for _ in range(3):
            set_output_metadata({"rows": 1})

    assert caplog.text.count("where no step of a pipeline runs") == 1


def test_value_without_a_text_is_one_warning_and_fails_no_step(project, caplog):
    class Odd:
        def __str__(self):
            raise ValueError("odd")

        __repr__ = __str__

    @step
    def fit() -> int:
        said = {"odd": Odd()}
        said["self"] = said
        set_output_metadata(said)
        set_output_metadata({"rows": 2})
        return 1

    assert pipeline(fit)().status == "finished"
    assert Client().get_output("fit.output").metadata == {"rows": 2}
    assert caplog.text.count("has a value that has no text") == 1
