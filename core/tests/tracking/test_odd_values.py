"""Do names, texts and numbers of odd classes arrive, or is it said what is wrong with them?"""

from __future__ import annotations

import ipaddress
import json
from collections import UserString
from zoneinfo import ZoneInfo

import numpy
import pandas
from recorder import Recorder

from trackyard import Client, start_run


def test_long_name_is_shortened_told_apart_and_named(project, caplog):
    project.add_tracker("local", Recorder)
    with start_run() as run:
        run.log_text("1", "n" * 300 + "1.txt")
        run.log_text("2", "n" * 300 + "2.txt")
        run.log_table({"a": [1]}, "中" * 84)  # it gets .json, and is too long then
        run.log_model({"a": 1}, "m" * 300)
        run.log_text("3", "d" * 251 + ".txt")
    found = Client().get_run(run.id).artifacts
    names = list(found)
    assert [name[:3] + name[-5:] for name in names if name.endswith(".txt")][2:] == ["dddd.txt"]
    assert sorted(found[name].read_text() for name in names if name.startswith("n")) == ["1", "2"]
    assert len({name.partition("/")[0] for name in names if name.startswith("m")}) == 1
    assert all(len(part.encode()) <= 255 for name in names for part in name.split("/"))
    assert len(names) == 6
    assert len(caplog.messages) == 3  # two begin alike
    text = "its name was shortened, as files have up to 255 bytes; give a shorter one"
    assert all(message.endswith(text) for message in caplog.messages)


def test_text_of_any_class_is_no_table_and_one_cell_of_one(project, caplog):
    project.add_tracker("local", Recorder)
    with start_run() as run:
        run.log_table(UserString("abc"), "a")
        run.log_table([UserString("abc")], "b")
        run.log_table({"name": UserString("abc"), "n": 1}, "c")
    artifacts = Client().get_run(run.id).artifacts
    assert list(artifacts) == ["c.json"]
    assert json.loads(artifacts["c.json"].read_text())["data"] == [["abc", 1]]
    first, second = caplog.messages
    assert "a UserString is no table; give a frame" in first
    assert "a list is no table; give a frame" in second


def test_text_that_says_all_that_a_value_is_is_kept_without_a_warning(project, caplog):
    project.add_tracker("local", Recorder)
    values = {
        "period": pandas.Period("2024-01"),
        "interval": pandas.Interval(0, 1),
        "offset": pandas.offsets.Day(2),
        "dtype": numpy.dtype("float32"),
        "zone": ZoneInfo("UTC"),
        "address": ipaddress.ip_address("::1"),
    }
    texts = ["2024-01", "(0, 1]", "<2 * Days>", "float32", "UTC", "::1"]
    with start_run() as run:
        run.log_dict(values, "a")
        run.log_params(values)
    found = Client().get_run(run.id)
    assert caplog.messages == []
    assert list(json.loads(found.artifacts["a"].read_text()).values()) == texts
    assert list(found.params.values()) == texts


def test_complex_number_is_no_metric_rather_than_its_real_part(project, caplog):
    project.add_tracker("local", Recorder)
    with start_run() as run:
        run.log_metric("a", numpy.complex128(1 + 2j))
    assert Client().get_run(run.id).metrics == {}
    assert caplog.messages == ["metric 'a' was not logged: (1+2j) is no number"]
