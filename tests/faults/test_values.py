"""Whatever is logged, nothing raises into the step, and what can be kept arrives as it was."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import itertools
import math
import sys
import threading
import time

import numpy
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trackyard import start_run
from trackyard.delivery.adapting import original_key


@pytest.fixture
def logged(faults):
    """Give a function that makes calls in a run and gives what the journal and a tracker have."""
    faults.add_tracker(isolation="thread")
    names = itertools.count()

    def logged(*calls):
        before = set(faults.run_folders())
        with start_run(f"run {next(names)}") as run:
            for call, *arguments in calls:
                getattr(run, call)(*arguments)
        (folder,) = set(faults.run_folders()) - before
        entries = faults.journal(folder)
        query = f"select key, value, step from natural_records where run = '{folder.name}'"
        kinds = ("metrics", "params", "tags")
        journaled = {k: v for e in entries if e.kind in kinds for k, v in e.data.items()}
        return journaled, {key: value for key, value, _ in faults.rows(query)}, faults.rows(query)

    return logged


def test_v1_not_a_number_and_infinities(logged):
    values = {
        f"{word} {kind.__name__}": kind(word)
        for kind in (float, numpy.float16, numpy.float32, numpy.float64, numpy.longdouble)
        for word in ("nan", "inf", "-inf")
    }
    journaled, delivered, _ = logged(("log_metrics", values))

    assert {k: repr(v) for k, v in journaled.items()} == {
        k: repr(float(v)) for k, v in values.items()
    }
    assert {key: float(value) for key, value in delivered.items()}.keys() == values.keys()
    assert all(value == key.split()[0] for key, value in delivered.items())


class Colour(enum.Enum):
    RED = 1


def test_v2_numbers_and_others_that_a_param_may_be(logged):
    values = {
        "big": 2**70,
        "bool": True,
        "decimal": decimal.Decimal("0.1"),
        "fraction": fractions.Fraction(1, 3),
        "complex": 1j,
        "date": datetime.date(2026, 1, 2),
        "enum": Colour.RED,
        "numpy": numpy.int64(7),
    }
    journaled, _, _ = logged(("log_params", values))

    assert journaled == {
        "big": str(2**70),
        "bool": True,
        "decimal": "0.1",
        "fraction": "1/3",
        "complex": "1j",
        "date": "2026-01-02",
        "enum": "Colour.RED",
        "numpy": 7,
    }


@pytest.mark.slow
def test_v3_huge_values_many_keys_great_depth_and_cycles(faults):
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    cycle: dict = {}
    cycle["itself"] = cycle
    text, keys = "x" * 10_000_000, {f"key {number}": number for number in range(100_000)}
    begun = time.process_time()
    with start_run("huge", experiment_tracker=None) as run:
        run.log_param("text", text)
        run.log_metrics(keys)
        for number, value in enumerate((deep, cycle)):
            run.log_param(f"odd {number}", value)
            run.log_dict({"value": value}, f"{number}.json")

    assert time.process_time() - begun < 10  # a second where nothing is measured or watched
    assert faults.journaled("key 99999") == [99_999.0]
    (params, *odd) = [entry.data for entry in faults.journal() if entry.kind == "params"]
    assert params == {"text": text}
    assert odd[1] == {"odd 1": "{'itself': '<cycle>'}"}


def test_v4_odd_texts_as_keys_and_values(logged):
    texts = ["\ud800", "a\0b", "\u202eabc", "\U0001f600", "a\nb", "a/b", "..", "k" * 1000, "~1 0"]
    journaled, delivered, _ = logged(("log_params", {text: text for text in texts}))

    assert journaled == {text: text for text in texts}
    assert {original_key(key) for key in delivered} == set(texts)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=10,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_v5_anything_at_all(anything_run, value):
    for call in ("log_metric", "log_param", "set_tag", "log_text", "log_dict"):
        arguments = (value, "a.json") if call in ("log_text", "log_dict") else ("key", value)
        getattr(anything_run, call)(*arguments)
    for call in ("log_metrics", "log_params", "set_tags"):
        getattr(anything_run, call)(value)
        getattr(anything_run, call)(iter([value]))


@pytest.fixture
def anything_run(faults):
    with start_run("anything", experiment_tracker=None) as run:
        yield run


class Scalar:
    """A scalar as torch has it: on a device, or in need of a gradient."""

    def __init__(self):
        self.asked = 0

    def item(self):
        self.asked += 1
        return 0.5

    def __float__(self):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_v6_scalars_of_numpy_and_torch(logged):
    scalar = Scalar()
    values = {"torch": scalar, "numpy": numpy.float32(0.5), "array": numpy.array([0.5])}
    journaled, _, _ = logged(("log_metrics", values), ("log_metric", "step", 1, numpy.int64(3)))

    assert journaled == {"torch": 0.5, "numpy": 0.5, "array": 0.5, "step": 1.0}
    assert scalar.asked == 1
    assert "torch" not in sys.modules


class Hostile:
    def refuse(self, *_):
        raise RuntimeError("hostile")

    __repr__ = __str__ = __eq__ = __hash__ = __float__ = __iter__ = __bool__ = __len__ = refuse


def test_v7_objects_whose_own_methods_raise(logged):
    journaled, _, _ = logged(
        ("log_param", "hostile", Hostile()),
        ("log_metric", "hostile metric", Hostile()),
        ("log_params", Hostile()),
        ("log_dict", {"a": Hostile()}, "a.json"),
        ("log_metric", "after", 1),
    )

    assert journaled == {"hostile": "<unrepresentable Hostile>", "after": 1.0}


def test_v8_names_that_trackers_use_themselves(logged):
    """The journal keeps them, each flavor's own rules apply to what it gets."""
    names = ["_step", "_timestamp", "sys/state", "mlflow.runName", "trackyard.run_id"]
    journaled, delivered, _ = logged(("log_metrics", dict.fromkeys(names, 1.0)))

    assert list(journaled) == names
    assert sorted(delivered) == sorted(names)


def test_v9_steps_in_any_order(logged):
    steps = [5, 3, 3, -1, 2.5, 10**13, 2**80, None, math.nan]
    _, _, rows = logged(
        *(("log_metric", f"m{number}", 1, step) for number, step in enumerate(steps))
    )

    assert [row[2] for row in rows] == [
        *("5", "3", "3", "-1", "2.5"),
        *(str(10**13), str(2**63 - 1), "None", "None"),
    ]


def test_v10_the_clock_is_set_back_meanwhile(faults, monkeypatch):
    """The order is that of the calls, whatever the clock says."""
    faults.add_tracker(isolation="thread")
    day, now = 86_400 * 10**9, time.time_ns()
    moments = iter([now, now - day, now + day, now - 2 * day])
    with start_run("clock") as run, monkeypatch.context() as patch:
        patch.setattr("trackyard.tracking.calls.time_ns", lambda: next(moments))
        for number in range(4):
            run.log_metric("loss", number, number)

    assert faults.values("loss") == faults.journaled("loss") == [0, 1, 2, 3]
    assert faults.statuses() == ["finished"]


@pytest.mark.slow
def test_v11_a_dict_that_another_thread_changes(faults):
    faults.add_tracker(isolation="thread")
    shared = {f"key {number}": 1.0 for number in range(50)}
    stop = threading.Event()

    def change():
        for number in itertools.count():
            if stop.is_set():
                return
            shared[f"new {number % 500}"] = 1.0
            shared.pop(f"new {(number + 250) % 500}", None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with start_run("shared") as run:
            for number in range(30):
                run.log_metrics(shared, number)
                run.log_params({"all": shared})
                run.log_dict(shared, "a.json")
    finally:
        stop.set()
        thread.join()

    assert faults.statuses() == ["finished"]
    assert len(faults.journaled("key 1")) > 20
