"""Do the values of the contract stay what they are on their way to a tracker?"""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given, strategies as st

from trackyard import Artifact, Batch, Capabilities, Failure, Metric, Param, Record, Run, Tag
from trackyard.contract.records import SEVERITY

RUN = Run(id="1" * 32, name="run", experiment="default", started_at=1, folder=Path("a"))

RECORDS = st.lists(
    st.one_of(
        st.builds(Metric, st.text(), st.floats(), st.none() | st.integers(), st.integers(0, 3)),
        st.builds(Param, st.text(), st.text()),
        st.builds(Tag, st.text(), st.text()),
        st.builds(Artifact, st.text(), st.just(Path("a")), st.just("file")),
    )
).map(tuple)

VALUES = [
    RUN,
    Failure("failed", "ValueError"),
    Metric("a", 1.0, None, 0),
    Param("a", 1),
    Tag("a", "b"),
    Artifact("a", Path("a"), "file"),
    Batch(),
    Capabilities(),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_of_the_contract_is_frozen(value):
    for field in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, None)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_field_of_the_contract_is_explained(value):
    text = type(value).__doc__
    if type(value) in (Metric, Param, Tag):  # their one line says it all
        return

    assert [f.name for f in attrs.fields(type(value)) if f.name not in text] == []


def test_tags_of_a_run_are_a_copy_that_nobody_can_change():
    tags = {"a": "b"}
    run = attrs.evolve(RUN, tags=tags)
    tags["a"] = "c"

    assert run.tags == {"a": "b"}
    with pytest.raises(TypeError):
        run.tags["a"] = "c"
    assert attrs.evolve(run, name="other").tags == {"a": "b"}


def test_identity_of_a_run_is_told_by_tags():
    assert RUN.identity_tags == {"trackyard.run_id": "1" * 32, "trackyard.attempt": "1"}
    run = attrs.evolve(RUN, pipeline="p", step="s", attempt=2, group="g")
    assert run.identity_tags == {
        "trackyard.run_id": "1" * 32,
        "trackyard.pipeline": "p",
        "trackyard.step": "s",
        "trackyard.attempt": "2",
        "trackyard.group": "g",
    }


@given(RECORDS)
def test_batch_holds_every_record_once_and_in_order(records):
    batch = Batch.of(records, 3, 9)

    assert len(batch) == len(records)
    for kind, held in (
        (Metric, batch.metrics),
        (Param, batch.params),
        (Tag, batch.tags),
        (Artifact, batch.artifacts),
    ):
        assert [id(record) for record in held] == [id(r) for r in records if isinstance(r, kind)]
    assert (batch.first_sequence, batch.last_sequence) == (3, 9)


def test_rows_group_the_metrics_of_one_moment_and_step():
    batch = Batch(
        metrics=(
            Metric("a", 1.0, 1, 10),
            Metric("b", 2.0, 1, 10),
            Metric("a", 3.0, 2, 10),
            Metric("b", 4.0, 1, 11),
            Metric("c", 5.0, 1, 10),
        )
    )

    assert batch.rows() == (
        (1, 10, {"a": 1.0, "b": 2.0, "c": 5.0}),
        (2, 10, {"a": 3.0}),
        (1, 11, {"b": 4.0}),
    )


def test_last_metric_of_a_key_counts_in_a_row():
    metrics = (Metric("a", 1.0, None, 0), Metric("a", 2.0, None, 0))

    assert Batch(metrics=metrics).rows() == ((None, 0, {"a": 2.0}),)


def test_records_are_told_by_their_class():
    assert all(isinstance(value, Record) for value in VALUES[2:6])
    assert not isinstance(RUN, Record)


def test_statuses_go_from_best_to_worst():
    assert SEVERITY == ("running", "finished", "killed", "failed", "crashed")


def test_capabilities_are_the_widest_by_default():
    widest = Capabilities()

    assert widest.kinds == {"file", "image", "figure", "table", "text", "html"}
    assert (widest.key_length, widest.param_length, widest.tag_length) == (None, None, None)
    assert (widest.step_rule, widest.not_a_number) == ("any", "keep")
    assert (widest.nests, widest.shared_runs, widest.concurrent_runs) == (False, False, True)
