"""Whatever is logged, the call returns, the step goes on, and what can be kept is kept."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import json
import math
import threading
import time
import tracemalloc

import pytest
from hypothesis import given, settings, strategies as st

from trackyard import start_run
from trackyard.tracking.calls import ActiveRun

NUMBERS = {
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
}


@pytest.fixture
def tracked(faults):
    """A project with a tracker in this process."""
    faults.add_tracker(isolation="thread", flush_timeout=30)
    return faults


def params(faults):
    return {
        key: value
        for entry in faults.journal()
        if entry.kind == "params"
        for key, value in entry.data.items()
    }


def quickly(seconds=10.0):
    """Fail where a call takes long, by the CPU of all threads: the machine may be busy."""
    begun = time.process_time()
    return lambda: time.process_time() - begun < seconds


@pytest.mark.parametrize("kind", ["float", "float16", "float32", "float64", "longdouble"])
def test_v1_numbers_that_are_none_and_extremes_come_back_exactly(tracked, kind):
    numpy = pytest.importorskip("numpy")
    make = float if kind == "float" else getattr(numpy, kind)
    with numpy.errstate(all="ignore"):
        values = {name: make(number) for name, number in NUMBERS.items()}
        expected = {name: float(value) for name, value in values.items()}
        with start_run() as run:
            for name, value in values.items():
                run.log_metric(name, value)

    for name, number in expected.items():
        for (kept,) in (tracked.journaled(name), tracked.values(name)):
            assert kept == number or (math.isnan(kept) and math.isnan(number))


class Colour(enum.Enum):
    RED = 1


MEANINGS = {
    "big": (2**70, str(2**70)),
    "bool": (True, True),
    "decimal": (decimal.Decimal("1.10"), "1.10"),
    "fraction": (fractions.Fraction(1, 3), "1/3"),
    "complex": (1 + 2j, "(1+2j)"),
    "date": (datetime.date(2026, 1, 2), "2026-01-02"),
    "enum": (Colour.RED, "Colour.RED"),
}


def test_v2_values_of_odd_types_have_a_meaning(tracked):
    with start_run() as run:
        run.log_params({name: value for name, (value, _) in MEANINGS.items()})
        run.log_metric("decimal", decimal.Decimal("1.5"))
        run.log_metric("fraction", fractions.Fraction(1, 4))
        run.log_metric("bool", True)

    for name, (_, meaning) in MEANINGS.items():
        assert str(params(tracked)[name]) == str(meaning)
    assert tracked.journaled("decimal") == [1.5]
    assert tracked.journaled("fraction") == [0.25]
    assert tracked.journaled("bool") == [1.0]


@pytest.mark.slow
def test_v3_values_of_every_size_cost_bounded_time_and_memory(tracked):
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    cycle: dict = {}
    cycle["self"] = cycle
    done = quickly(30)
    with start_run() as run:
        tracemalloc.start()
        run.log_param("bytes", b"\x00\xff")
        run.log_param("text", "x" * 3_000_000)
        run.log_param("deep", deep)
        run.log_param("cycle", cycle)
        run.log_metrics({f"key {number}": number for number in range(30_000)})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert done()
    assert peak < 256e6
    assert tracked.statuses() == ["finished"]
    assert {"bytes", "text", "deep", "cycle"} <= params(tracked).keys()
    assert tracked.journaled("key 29999") == [29999]


ODD_TEXTS = [
    "\ud800",
    "\0",
    "\u202eright to left",
    "🎉",
    "a\nb",
    "a/b",
    "..",
    "../../x",
    "k" * 1000,
    "",
]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_v4_odd_texts_are_keys_and_values_like_others(tracked, text):
    with start_run(text, experiment=text, tags={text: text}) as run:
        run.log_metric(text, 1.0)
        run.log_param(text, text)
        run.set_tag(text, text)

    assert tracked.statuses() == ["finished"]
    kinds = {row[0] for row in tracked.rows("select kind from natural_records")}
    assert kinds == {"metric", "param", "tag"}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text() | st.none(), inner),
    max_leaves=10,
)


def test_v5_any_value_and_any_key_can_be_logged(tracked):
    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(key=ANYTHING, value=ANYTHING)
    def log(run: ActiveRun, key, value):
        run.log_metric(key, value)
        run.log_param(key, value)
        run.set_tag(key, value)
        run.log_params({"nested": value, "generator": (x for x in [1])})
        run.log_metrics({})
        run.log_dict({"value": value}, "odd.json")

    with start_run() as run:
        log(run)

    assert tracked.statuses() == ["finished"]


class Scalar:
    """What numpy, torch and jax have in common; counts how often it is asked."""

    def __init__(self, value, *, wants_detach=False):
        self.value, self.asked, self.wants_detach = value, 0, wants_detach

    def item(self):
        self.asked += 1
        return self.value

    def __float__(self):
        if self.wants_detach:
            raise RuntimeError("call detach() first")
        return float(self.value)


def test_v6_scalars_of_libraries_are_asked_and_not_their_libraries(tracked):
    numpy = pytest.importorskip("numpy")
    grown, plain = Scalar(0.5, wants_detach=True), Scalar(3)
    with start_run() as run:
        run.log_metric("grown", grown)
        run.log_metric("plain", plain)
        run.log_metric("numpy", numpy.array(0.25))
        run.log_param("numpy", numpy.int64(7))

    assert tracked.journaled("grown") == [0.5]
    assert tracked.journaled("plain") == [3]
    assert tracked.journaled("numpy") == [0.25]
    assert params(tracked)["numpy"] == 7


class Hostile:
    def fail(self, *_):
        raise RuntimeError("never ask me")

    __repr__ = __str__ = __eq__ = __float__ = __iter__ = __len__ = __bool__ = item = fail

    def __hash__(self):
        raise RuntimeError("never ask me")


def test_v7_objects_that_answer_nothing_are_kept_as_what_they_are(tracked):
    with start_run() as run:
        run.log_param("hostile", Hostile())
        run.set_tag("hostile", Hostile())
        run.log_metric("hostile", Hostile())
        run.log_dict({"hostile": Hostile()}, "hostile.json")
        run.log_metric("after", 1)

    assert "Hostile" in params(tracked)["hostile"]
    assert tracked.values("after") == [1.0]


@pytest.mark.parametrize(
    "key", ["_step", "_timestamp", "sys/id", "mlflow.runName", "trackyard.run_id", "run_id", "key"]
)
def test_v8_keys_that_mean_something_elsewhere_are_keys_like_others(tracked, key):
    with start_run() as run:
        run.log_metric(key, 1)
        run.log_param(key, "x")
        run.set_tag(key, "y")

    assert tracked.values(key) == [1.0]
    assert tracked.values(key, kind="param") == ["x"]
    (id_,) = tracked.rows("select id from runs")
    assert id_ == (run.id,)


STEPS = [3, 2, 2, -5, 1.5, 10**12 + 1, 2**63 - 1, None]


def test_v9_steps_of_every_kind_are_kept_in_their_order(tracked):
    with start_run() as run:
        for number, step in enumerate(STEPS):
            run.log_metric("loss", number, step=step)
        run.log_metric("odd", 1, step="seven")

    entries = [entry for entry in tracked.journal() if entry.kind == "metrics"]
    assert [entry.step for entry in entries[: len(STEPS)]] == STEPS
    assert tracked.values("loss") == list(range(len(STEPS)))
    assert tracked.values("odd") == [1.0]


@pytest.mark.parametrize("jump", [-86_400, 86_400, -3_600])
def test_v10_the_clock_jumps_and_the_order_stays(tracked, monkeypatch, jump):
    clock = time.time_ns
    with start_run() as run:
        for number in range(20):
            if number == 10:
                monkeypatch.setattr(time, "time_ns", lambda: clock() + jump * 10**9)
            run.log_metric("loss", number)

    assert tracked.journaled("loss") == tracked.values("loss") == list(range(20))
    assert tracked.statuses() == ["finished"]


@pytest.mark.slow
def test_v11_a_dict_that_another_thread_changes_is_logged_as_it_is_at_some_moment(tracked):
    shared = {f"key {number}": float(number) for number in range(500)}
    stopping = threading.Event()

    def change():
        while not stopping.is_set():
            shared["new"] = 1.0
            del shared["new"]

    thread = threading.Thread(target=change)
    with start_run() as run:
        thread.start()
        for _ in range(60):
            run.log_metrics(shared)
            run.log_params({"nested": shared})
        stopping.set()
        thread.join()

    assert tracked.statuses() == ["finished"]
    assert len(tracked.journaled("key 0")) == 60
    assert json.dumps(tracked.journaled("key 499")) == json.dumps([499.0] * 60)
