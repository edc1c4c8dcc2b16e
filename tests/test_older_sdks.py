"""What older releases of SDKs have written becomes runs of the project, whole."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trackyard import Client

# Releases of 2023 and 2024, in an environment of their own.
RELEASES = (
    *("mlflow-skinny==2.9.2", "sqlalchemy<2.1", "alembic", "pandas<3", "setuptools<81"),
    *("wandb==0.19.0", "tensorboardX==2.6.2", "numpy<2"),
)
SCRIPTS = {
    "mlflow": """
        import math, sys, mlflow

        mlflow.set_tracking_uri(sys.argv[1])
        mlflow.set_experiment("fraud")
        with mlflow.start_run(run_name="old") as run:
            mlflow.log_param("rate", 0.1)
            mlflow.set_tag("team", "a")
            for step in range(100):
                mlflow.log_metric("loss", 1 / (step + 1), step=step)
            mlflow.log_metric("odd", math.nan, step=0)
            mlflow.log_metric("odd", math.inf, step=1)
            mlflow.log_text("hello", "notes/a.txt")
            mlflow.log_input(mlflow.data.from_pandas(__import__("pandas").DataFrame({"a": [1]})))
            with mlflow.start_run(run_name="child", nested=True):
                mlflow.log_metric("loss", 2.0, step=-3)
    """,
    "wandb": """
        import math, sys, wandb

        run = wandb.init(project="fraud", name="old", mode="offline", config={"rate": 0.1})
        for step in range(100):
            run.log({"loss": 1 / (step + 1)})
        run.log({"odd": math.nan})
        run.log({"odd": math.inf, "page": wandb.Html("<b>x</b>", inject=False)})
        run.summary["best"] = 0.5
        run.finish()
    """,
    "tensorboardX": """
        import math, sys, tensorboardX

        with tensorboardX.SummaryWriter(sys.argv[1] + "/old") as writer:
            for step in range(100):
                writer.add_scalar("loss", 1 / (step + 1), step)
            writer.add_scalar("odd", math.nan, 0)
            writer.add_scalar("odd", math.inf, 1)
            writer.add_text("note", "hello", 3)
    """,
}
pytestmark = pytest.mark.long(reason="an environment with older releases of SDKs")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python with older releases of SDKs."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv makes the environment, and is not installed")
    folder = tmp_path_factory.mktemp("older") / "venv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)
    found = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--python", found, *RELEASES], check=True)
    return found


@pytest.fixture
def log(python, tmp_path, monkeypatch):
    """Have a script log, and go to a project that has no tracker."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")

    def log(name: str, *arguments: str) -> None:
        text = "\n".join(line[8:] for line in SCRIPTS[name].splitlines())
        quiet = {"HOME": str(tmp_path), "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
        known = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "PYTHON"))}
        subprocess.run(
            [python, "-c", text, *arguments], cwd=tmp_path, env={**known, **quiet}, check=True
        )

    return log


def check_points(run) -> None:
    curve, odd = run.curves["loss"], [*run.curves["odd"].values]
    assert [*curve.steps] == [*range(100)]
    assert [*curve.values] == pytest.approx([1 / (step + 1) for step in range(100)])
    assert math.isnan(odd[0])
    assert odd[1] == math.inf


@pytest.mark.parametrize("place", ["mlruns", "sqlite:///old.db"])
def test_runs_of_mlflow_2_arrive(log, tmp_path, place):
    folder = f"{tmp_path}/mlruns"
    where = folder if place == "mlruns" else f"sqlite:///{tmp_path}/old.db"
    log("mlflow", where)
    before = {p: p.read_bytes() for p in tmp_path.glob("*.db")}
    rows = Client().import_runs(f"mlflow:{where}")
    run, child = Client().get_run("old"), Client().get_run("child")

    assert [(row.state, row.problem, row.losses) for row in rows] == [("new", "", {})] * 2
    assert (run.status, run.pipeline, run.all_params) == ("finished", "fraud", {"rate": "0.1"})
    check_points(run)
    assert run.steps[0].tags["team"] == "a"
    assert run.artifacts["notes/a.txt"].read_text() == "hello"
    assert "datasets/dataset.json" in run.artifacts
    assert child.parent_id == run.id
    assert [*child.curves["loss"].steps] == [-3]
    assert {p: p.read_bytes() for p in tmp_path.glob("*.db")} == before


def test_a_run_of_wandb_0_19_arrives(log, tmp_path):
    log("wandb")
    (row,) = Client().import_runs(f"wandb:{tmp_path}/wandb")
    run = Client().get_run("old")

    assert (row.state, row.problem, row.losses) == ("new", "", {})
    assert (run.status, run.pipeline, run.all_params) == ("finished", "fraud", {"rate": 0.1})
    check_points(run)
    assert run.steps[0].tags["summary.best"] == "0.5"
    assert "page.html" in run.artifacts


def test_event_files_of_tensorboardx_arrive(log, tmp_path):
    log("tensorboardX", f"{tmp_path}/logs")
    (row,) = Client().import_runs(f"tensorboard:{tmp_path}/logs")
    run = Client().get_run("old")

    assert (row.state, row.problem, row.losses) == ("new", "", {})
    check_points(run)
    assert [name for name in run.artifacts if name.startswith("note")]
