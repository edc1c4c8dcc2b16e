"""Entries keep what was logged, whatever it was."""

from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given, strategies as st

from trackyard.contract.records import Failure
from trackyard.journal.entries import Entry, Holder, decode_entries, encode_captured, encode_entry

FOLDER = Path("/nowhere/run")


def there_and_back(entry: Entry) -> Entry:
    payload = encode_entry(entry)

    assert b"\n" not in payload
    assert b"\0" not in payload
    (read,) = decode_entries(payload, FOLDER)
    return read


@given(
    st.dictionaries(st.text(), st.floats(allow_nan=False), min_size=1),
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**62),
)
def test_metrics_come_back_exactly(metrics, step, timestamp):
    entry = Entry("metrics", timestamp, step, metrics)

    assert there_and_back(entry) == entry


def test_not_a_number_and_infinities_come_back():
    entry = there_and_back(
        Entry("metrics", 1, None, {"a": math.nan, "b": math.inf, "c": -math.inf})
    )

    assert math.isnan(entry.data["a"])
    assert (entry.data["b"], entry.data["c"]) == (math.inf, -math.inf)


@given(
    st.dictionaries(
        st.text(st.characters()),
        st.none()
        | st.booleans()
        | st.text(st.characters())
        | st.floats(allow_nan=False)
        | st.integers(-(2**63), 2**63 - 1),
    )
)
def test_params_come_back_exactly_with_lone_surrogates_too(params):
    assert there_and_back(Entry("params", 1, None, params)).data == params


def test_a_param_that_is_infinite_is_not_taken_for_the_text_infinity():
    params = {"number": math.inf, "text": "Infinity"}

    assert there_and_back(Entry("params", 1, None, params)).data == params


def test_ends_come_back():
    failure = Failure("killed", "SIGTERM", "stopped", "trace", 15)

    assert there_and_back(Entry("end", 5, None, failure)).data == failure
    assert there_and_back(Entry("end", 5, None, None)).data is None


def test_a_kind_of_a_newer_trackyard_is_skipped():
    assert decode_entries(b'["hologram",1,null,{}]', FOLDER) == []


def test_parts_of_one_call_come_back_together_with_their_holder():
    holder = Holder("mlflow", "4f\n\udc80", "row 3", 9)
    parts = [
        Entry("metrics", 5, 1, {"loss": math.inf}),
        Entry("params", 6, None, {"lr": math.nan, "name": "x\udc80"}),
    ]
    payload = encode_captured(holder, [encode_entry(part) for part in parts])
    read = decode_entries(payload, FOLDER)

    assert b"\n" not in payload
    assert [entry.kind for entry in read] == ["metrics", "params"]
    assert read[0].data == {"loss": math.inf}
    assert {entry.held_by for entry in read} == {Holder("mlflow", "4f\n\\udc80", "row 3", 9)}


def test_parts_of_a_newer_kind_are_skipped_and_the_others_kept():
    holder = Holder("mlflow", "4f", "", 9)
    parts = [b'["hologram",1,null,{}]', encode_entry(Entry("tags", 6, None, {"a": "b"}))]

    assert [entry.kind for entry in decode_entries(encode_captured(holder, parts), FOLDER)] == [
        "tags"
    ]
