"""Is a Parquet file what was exported, and is it written in little memory?"""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from pyarrow import parquet

from trackyard.runs.parquet_files import write_parquet


def test_what_is_read_from_a_parquet_file_is_what_was_written(tmp_path):
    columns = {"name": "text", "size": "number", "at": "time"}
    parts = [
        {"name": ["a", None, "", "ü" * 9], "size": [1, None, math.inf, 0.1], "at": [None, 5, 6, 7]},
        {"name": [None] * 9, "size": [None] * 9, "at": [None] * 9},
        {"name": [], "size": [], "at": []},
        {"name": ["z"], "size": [-2.5], "at": [2**62]},
    ]
    write_parquet(tmp_path / "table.parquet", parts, columns)

    table = parquet.read_table(tmp_path / "table.parquet")
    found = {"name": table["name"].to_pylist(), "size": table["size"].to_pylist()}
    found["at"] = [moment.value for moment in table["at"]]
    assert found == {key: [value for part in parts for value in part[key]] for key in columns}


@pytest.mark.slow
def test_pandas_is_not_imported_by_an_export(project):
    program = """
import sys
from trackyard import Client, start_run
with start_run("one", experiment_tracker=None) as run:
    run.log_metric("loss", 1, step=1)
Client().export_runs("one", file="one.parquet")
assert "pyarrow" in sys.modules and "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=project.root)
    assert "loss" in parquet.read_table(project.root / "one.parquet")["key"].to_pylist()
