"""Is a run in MLflow compared with its journal, point by point?"""

from __future__ import annotations

import json
import math
import sqlite3

from click.testing import CliRunner

from trackyard import start_run
from trackyard.cli.main import cli


def verify(*arguments):
    result = CliRunner().invoke(cli, ["runs", "verify", *arguments, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_run_is_the_same_until_someone_changes_it(mlflow_project):
    with start_run("verified", tags={"team": "a"}) as run:
        for step in range(200):
            run.log_metrics({"loss": 1 / (step + 1), "odd key?": math.nan}, step=step)
        for value in (1.0, 1.0, math.inf, 2.0):
            run.log_metric("free", value)
        run.log_params({"rate": 0.1, "long": "x" * 7000, "none": None})
        run.set_tag("note", "ä" * 6000)
        run.log_text("hello", "texts/note.txt")
        run.log_table([{"a": 1}], "table.json")
    exit_code, (row,) = verify("verified")
    assert (exit_code, row["state"], row["differences"]) == (0, "same", [])
    assert row["records"] > 400

    with sqlite3.connect(mlflow_project.home / "mlflow.db") as database:
        database.execute("DELETE FROM metrics WHERE key = 'loss' AND step = 7")
        database.execute("UPDATE params SET value = '0.2' WHERE key = 'rate'")
    database.close()
    exit_code, (row,) = verify(run.id, "--tracker", "local")

    assert (exit_code, row["state"]) == (1, "different")
    assert [(d["kind"], d["key"], d["problem"], d["count"]) for d in row["differences"]] == [
        ("metric", "loss", "missing", 1),
        ("param", "rate", "different", 1),
    ]
