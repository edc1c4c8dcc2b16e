"""Is a metric told in short as it is, whatever its numbers are?"""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, strategies as st

from trackyard import Client, start_run
from trackyard.runs.charts import Series, chart, spikes
from trackyard.runs.curves import Curve, goal_of, sampled, sparkline


def curve(key, values, steps=None, timestamps=None):
    made = Curve(key)
    for index, value in enumerate(values):
        step = steps[index] if steps else None
        made.append(step, value, timestamps[index] if timestamps else index)
    return made


@pytest.mark.parametrize(
    ("key", "goal"),
    [
        ("val/loss", "lowest"),
        ("RMSE", "lowest"),
        ("error_rate", "lowest"),
        ("accuracy", "highest"),
        ("auc", "highest"),
        ("reward", "highest"),
    ],
)
def test_best_is_what_one_wants_of_such_a_metric(key, goal):
    assert goal_of(key) == goal


def test_summary_holds_last_and_best_and_where():
    loss = curve("loss", [3.0, 1.0, 1.0, 2.0], [0, 5, 6, 7]).summary()
    assert (loss.last, loss.best, loss.best_step, loss.points) == (2.0, 1.0, 5, 4)
    assert (loss.lowest, loss.highest) == (1.0, 3.0)

    accuracy = curve("acc", [0.1, 0.9, 0.9, 0.2], [0, 5, 6, 7]).summary()
    assert (accuracy.last, accuracy.best, accuracy.best_step) == (0.2, 0.9, 5)
    assert accuracy.sparkline == "▁██▂"


def test_odd_numbers_are_never_best():
    summary = curve("acc", [math.nan, 0.5, math.inf, -math.inf], [0, 1, 2, 3]).summary()

    assert (summary.best, summary.best_step, summary.lowest) == (0.5, 1, 0.5)
    assert math.isinf(summary.last)
    assert math.isnan(curve("acc", [math.nan]).summary().best)


def test_points_come_in_the_order_of_steps_and_else_of_times():
    by_step = curve("loss", [3.0, 1.0, 2.0], [3, 1, 2]).in_order()
    assert by_step.values == [1.0, 2.0, 3.0]

    by_time = curve("loss", [3.0, 1.0, 2.0], [None, 1, 2], [30, 10, 20]).in_order()
    assert (by_time.values, by_time.steps) == ([1.0, 2.0, 3.0], [1, 2, None])


def test_long_curve_is_shown_by_the_means_of_its_parts():
    assert sampled([1.0, 3.0, 5.0, 7.0], 2) == [2.0, 6.0]
    assert sampled([1.0, 2.0], 5) == [1.0, 2.0]
    shown = sampled([math.nan, math.nan, 1.0, math.inf], 2)
    assert math.isnan(shown[0])
    assert shown[1] == 1.0


def test_thinned_curve_keeps_each_spike_and_both_ends():
    values = [0.5] * 10_000
    values[4_321], values[7_777] = 9.0, -9.0
    thin = curve("loss", values, list(range(10_000))).thinned(100)

    assert len(thin) <= 100
    assert dict(zip(thin.steps, thin.values, strict=True)) == {
        step: values[step] for step in thin.steps
    }
    assert {0, 4_321, 7_777, 9_999} <= set(thin.steps)
    assert thin.steps == sorted(thin.steps)


@given(st.lists(st.floats(), max_size=300), st.integers(4, 60))
def test_any_numbers_can_be_thinned(values, most):
    chosen = list(spikes(values, most))

    assert chosen == sorted(set(chosen))
    assert len(chosen) <= most
    known = [value for value in values if not math.isnan(value)]
    if known:
        assert {min(known), max(known)} <= {values[index] for index in chosen}


def test_curve_is_drawn_on_a_line():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5]) == "▄▄"
    assert sparkline([0, math.nan, 1]) == "▁ █"
    assert sparkline([]) == sparkline([math.nan]) == ""
    assert sparkline([0, 1], is_plain=True) == ".#"


@given(st.lists(st.floats(), max_size=200))
def test_any_numbers_can_be_told(values):
    made = curve("x", values)
    drawn = sparkline(values)
    assert len(drawn) in (0, len(values))
    assert drawn.strip("▁▂▃▄▅▆▇█ ") == ""
    picture = chart([Series("x", values), Series("y", values, [0.0] * len(values))])
    assert "nan" not in picture
    assert "inf" not in picture
    if values:
        assert len(made.summary().curve) <= 24
        assert made.summary().key == "x"


def test_curve_is_shown_on_a_line_and_as_a_picture():
    made = curve("<b>", [1.0, 2.0])

    assert repr(made) == "<Curve <b> ▁█>"
    assert made._repr_html_().startswith("<p>&lt;b&gt;</p><svg")
    assert "<script" not in made._repr_html_()


def texts(picture):
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture)


def test_picture_has_axes_with_round_numbers():
    assert texts(chart([Series("loss", [0.1, 0.42], [0, 1000])])) == [
        *("0.1", "0.2", "0.3", "0.4"),
        *("0", "200", "400", "600", "800", "1000"),
        "step",
    ]
    assert texts(chart([Series("loss", [0.5])]))[-1] == "point"


def test_several_curves_have_a_legend_and_one_scale():
    picture = chart([Series("<one>", [0, 1]), Series("two", [0, 3])])

    assert texts(picture)[-2:] == ["&lt;one&gt;", "two"]
    assert len(set(re.findall(r'<polyline fill="none" stroke="(#\w+)"', picture))) == 2
    assert "3" in texts(picture)
    assert "<one>" not in picture


def test_curve_has_a_gap_where_a_value_is_no_number():
    assert chart([Series("loss", [1, 2, math.nan, 3])]).count("<polyline") == 2
    assert chart([Series("loss", [math.nan])]) == ""


def test_curves_of_a_run_that_goes_on_are_read_on_from_where_they_were_left(project):
    with start_run("live", experiment="x", experiment_tracker=None) as run:
        for number in range(100):
            run.log_metric("loss", number / 7, step=number)
        (step,) = Client().get_run(run.id).steps
        assert len(step.curves["loss"]) == 100
        segment = next((project.root / ".trackyard/runs" / run.id).glob("*.tyj"))
        with segment.open("r+b") as opened:
            opened.seek(500)
            opened.write(bytes(2000))  # read again, these points would be missing
        run.log_metrics({"loss": 0.5, "late": 1.0}, step=100)

        assert step.curves.read_on()
        assert step.curves["loss"].steps[-2:] == [99, 100]
        assert len(step.curves["loss"]) == 101
        assert [*step.curves] == ["loss", "late"]
