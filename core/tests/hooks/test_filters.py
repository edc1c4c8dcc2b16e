"""Does a filter that makes a mistake drop the record, and nothing else?"""

from __future__ import annotations

import attrs
import pytest
from raising import (
    ERRORS,
    METRIC,
    RUN,
    filtering,
    passed,
)
from recorder import Recorder

from trackyard import (
    hookimpl,
    log_metrics,
    pipeline,
    start_run,
    step,
)
from trackyard.hooks.filters import apply_filters, record_filters


def test_filter_may_keep_change_or_drop_a_record():
    assert passed(lambda record: record) is METRIC
    assert passed(lambda record: attrs.evolve(record, key="b")).key == "b"
    assert passed(lambda _: None) is None
    assert passed() is METRIC


def test_filters_follow_one_another():
    def add(letter):
        return lambda record: attrs.evolve(record, key=record.key + letter)

    assert sorted(passed(add("b"), add("c")).key) == ["a", "b", "c"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_filter_that_raises_drops_the_record(error, caplog):
    def fail(_):
        raise error

    assert passed(fail) is None
    assert f"a record was dropped: tracker_filter_records: {type(error).__name__}" in caplog.text


@pytest.mark.parametrize("odd", [5, "a", True, {"key": "a"}])
def test_filter_that_gives_no_record_drops_it(odd, caplog):
    assert passed(lambda _: odd) is None
    assert "a record was dropped" in caplog.text


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_plugin_that_raises_instead_of_giving_a_filter_drops_every_record(error, caplog):
    class Failing:
        @hookimpl
        def tracker_filter_records(self, run):
            raise error

    plugins = [("upper", filtering(lambda record: record)), ("failing", Failing())]
    assert apply_filters(record_filters(plugins, RUN), METRIC) is None
    assert f"tracker_filter_records: {type(error).__name__}" in caplog.text
    assert "TRACKYARD_DISABLE_PLUGINS=upper,failing" in caplog.text


def test_wrapper_around_filters_that_raises_drops_every_record(caplog):
    class Failing:
        @hookimpl(wrapper=True)
        def tracker_filter_records(self, run):
            yield
            raise ValueError("no rules")

    assert apply_filters(record_filters([("failing", Failing())], RUN), METRIC) is None
    assert "ValueError: no rules" in caplog.text


def test_plugin_that_gives_what_is_no_filter_drops_every_record(caplog):
    assert passed(5) is None
    assert "int, which is no function" in caplog.text


def test_plugin_may_want_no_filter_for_a_run():
    class Choosy:
        @hookimpl
        def tracker_filter_records(self, run):
            return None

    assert record_filters([("choosy", Choosy())], RUN) == []


FILTERS = """
import attrs
from trackyard import Metric, Param, hookimpl

@hookimpl
def tracker_filter_records(run):
    def keep(record):
        if isinstance(record, Param) and record.key == "password":
            return None
        if isinstance(record, Metric) and record.key == "broken":
            raise ValueError
        if isinstance(record, Metric):
            return attrs.evolve(record, key=record.key.upper())
        return record
    return keep
"""


def test_filters_of_installed_plugins_reach_every_record(project, install):
    install("filters", {"filters_module": FILTERS}, plugins={"filters": "filters_module"})
    project.add_tracker("local", Recorder)
    with start_run() as run:
        run.log_params({"password": "secret", "rate": 0.1})
        run.log_metrics({"a": 1, "broken": 2})
        run.set_tag("b", "c")
        run.log_text("text", "notes.txt")

    assert project.logged("params") == [["rate", 0.1]]
    assert project.logged("metrics") == [["A", 1.0, None]]
    assert project.logged("tags") == [["b", "c"]]
    assert [artifact[0] for artifact in project.logged("artifacts")] == ["notes.txt"]


def test_what_a_filter_drops_is_kept_nowhere(project, install):
    install("filters", {"filters_module": FILTERS}, plugins={"filters": "filters_module"})

    @step
    def train():
        log_metrics({"a": 1, "broken": 2})

    run = pipeline(train)()

    assert run.steps["train"].metrics == {"A": 1.0}
