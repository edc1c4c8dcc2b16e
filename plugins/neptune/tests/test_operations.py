"""Tests of what Trackyard's records become as Neptune's operations."""

from __future__ import annotations

import pytest

from trackyard.contract import Context
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
