"""Does a pipeline show its graph in a notebook, whatever its steps are called?"""

from __future__ import annotations

import re

from trackyard import pipeline, step
from trackyard.pipelines.pictures import Box, boxes_of, picture


@step
def load() -> list[int]:
    return [1, 2]


@step
def train(item: int) -> int:
    return item


@step(name="<b>report")
def report(scores: list, first: list) -> None: ...


@pipeline
def training():
    items = load()
    report(train.map(items), items)


@pipeline
def asking(rate: float):
    load()


def places(markup):
    return {
        name: (int(x), int(y))
        for x, y, name in re.findall(r'<text x="(\d+)" y="(\d+)"[^>]*>([^<]*)</text>', markup)
    }


def test_steps_stand_behind_those_that_they_wait_for():
    markup = training._repr_html_()
    found = places(markup)

    assert found["load"][0] < found["train"][0] < found["&lt;b&gt;report"][0]
    assert markup.count("<path") == 3
    assert markup.count("<rect") == 5, "a mapped step is a pile"
    assert "<b>" not in markup
    assert "<script" not in markup


def test_steps_of_one_column_do_not_cover_each_other():
    boxes = [Box("load", ()), *(Box(f"train {n}", ("load",)) for n in range(4))]

    assert len({place[1] for place in places(picture(boxes)).values()}) == 4
    assert picture([]).startswith("<svg")


def test_step_that_is_named_first_may_wait_for_a_later_one():
    @step(after="load")
    def first() -> None: ...

    @pipeline
    def turned():
        first()
        load()

    graph, _ = turned.build()
    assert [box.name for box in boxes_of(graph)] == ["load", "first"]


def test_pipeline_that_cannot_be_built_without_arguments_says_so():
    assert "rate" in asking._repr_html_()
    assert "<svg" not in asking._repr_html_()
