"""Tests of what Trackyard's records become as Neptune's operations."""

from __future__ import annotations

import json

import pytest

from trackyard.contract import Context
from trackyard_neptune.folder import native_operations
from trackyard_neptune.operations import context_operations


@pytest.mark.parametrize("typed", ["train.py", "./train.py", "/opt/fraud/train.py"])
def test_entrypoint_is_the_files_name_as_the_sdk_has_it(typed):
    entrypoints = [
        operation["value"]
        for operation in context_operations(Context(script=typed))
        if operation["path"] == ["source_code", "entrypoint"]
    ]

    assert entrypoints == ["train.py"]


def test_no_script_is_no_entrypoint():
    paths = [operation["path"] for operation in context_operations(Context(host="a"))]

    assert ["source_code", "entrypoint"] not in paths
    assert ["monitoring", "trackyard", "hostname"] in paths


def test_words_that_an_older_version_has_read_stay_among_the_tags(tmp_path):
    _, position = native_operations(tmp_path, json.dumps({"tags": ["baseline"]}), "run")

    assert json.loads(position) == {"sets": {"tags": ["baseline"]}}
