"""Does each value become what docs/values.md says?"""

from __future__ import annotations

import datetime
import decimal
import json
import pathlib
import re
import types

import numpy
import pandas
import polars
import pyarrow
import pytest

from trackyard import Client, start_run
from trackyard.redaction.redactor import Redactor
from trackyard.tracking.json_texts import json_text
from trackyard.tracking.params import ParamOptions, params_of
from trackyard.tracking.plain_values import PlainValues
from trackyard.tracking.tables import plain_columns

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "values.md"
LIBRARIES = {
    module.__name__: module
    for module in (datetime, decimal, numpy, pandas, pathlib, polars, pyarrow, types)
}


def rows(section):
    text = PAGE.read_text().partition(f"\n## {section}")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(.+?)` \| `(.+?)`(, and a warning)? \|$", text, re.MULTILINE)


def in_json(value, values):
    return json.loads(json_text(values.plain(value), values))


def as_params(value, values):
    return params_of(value, ParamOptions(), Redactor().redact_nested, values)


def as_columns(value, values):
    return dict(plain_columns(value, values))


@pytest.mark.parametrize(
    ("become", "written", "result", "warns"),
    [
        (become, *row)
        for section, become in (
            ("In JSON", in_json), ("`log_params`", as_params), ("`log_table`", as_columns),
        )
        for row in rows(section)
    ],
)  # fmt: skip
def test_value_becomes_what_the_page_says(become, written, result, warns):
    values = PlainValues(for_json=True)

    assert become(eval(written, LIBRARIES), values) == json.loads(result)
    assert bool(values.notes) == bool(warns)


def test_numbers_without_a_name_in_json_come_back_as_numbers(project):
    with start_run("a", experiment_tracker=None) as run:
        run.log_dict({"loss": float("inf"), "rate": 0.5}, "a.json")

    file = Client().get_run(run.id).artifacts["a.json"]
    assert file.read_json() == {"loss": float("inf"), "rate": 0.5}


@pytest.mark.parametrize("section", ["In JSON", "`log_params`", "`log_table`"])
def test_page_has_rows(section):
    assert len(rows(section)) >= 4
