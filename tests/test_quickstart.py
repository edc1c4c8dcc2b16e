"""Does the README's first command leave behind what it shows?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

# It trains, which takes half a minute of processor.
pytestmark = pytest.mark.slow

QUICKSTART = Path(__file__).parents[1] / "examples/quickstart.py"
TRACKED = ["train_network", "train_regression", "evaluate_network", "evaluate_regression"]


class Finished:
    """The quickstart, run in a folder of its own, and what MLflow has of it."""

    def __init__(self, folder):
        environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "TRACKYARD_PROGRESS": "0"}
        done = subprocess.run(
            [sys.executable, QUICKSTART],
            check=False,
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, "TRACKYARD_HOME": "", **environment},
        )
        assert done.returncode == 0, done.stderr
        self.folder = folder
        self.lines = done.stdout.splitlines()
        self.errors = done.stderr
        self.client = MlflowClient(f"sqlite:///{folder}/.trackyard/mlflow.db")
        (experiment,) = self.client.search_experiments(filter_string="name = 'digits'")
        self.runs = {
            run.data.tags.get("trackyard.step", "digits"): run
            for run in self.client.search_runs([experiment.experiment_id])
        }


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("quickstart"))


def test_it_has_under_80_lines():
    assert len(QUICKSTART.read_text().splitlines()) < 80


def test_it_warns_of_nothing(quickstart):
    # On a busy machine it takes MLflow long to be imported, which is said.
    late = r"experiment tracker 'local' (makes its store|starts late).*\n"
    assert re.sub(late, "", quickstart.errors) == ""


def test_it_prints_status_metric_and_url_of_each_step(quickstart):
    for name in TRACKED:
        (line,) = [line for line in quickstart.lines if line.startswith(f"{name} ")]
        run = quickstart.runs[name].info
        place = f"experiments/{run.experiment_id}/runs/{run.run_id}"
        url = re.escape(f"http://127.0.0.1:5000/#/{place}?workflowType=machine_learning")

        assert re.fullmatch(rf"{name} +finished +\d+\.\d s  \w+/accuracy 0\.9\d\d +{url}", line)
    assert re.fullmatch(r"load +finished +\d+\.\d s *", quickstart.lines[0])


def test_every_run_is_finished_and_below_the_run_of_the_pipeline(quickstart):
    parent = quickstart.runs["digits"].info.run_id

    assert set(quickstart.runs) == {"digits", *TRACKED}
    for name, run in quickstart.runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.tags.get("mlflow.parentRunId") == (None if name == "digits" else parent)


def test_params_are_those_of_portable_and_native_calls(quickstart):
    params = {name: run.data.params for name, run in quickstart.runs.items()}

    assert params["digits"] == {
        "units": "64",
        "epochs": "30",
        **{f"train_network.{key}": value for key, value in params["train_network"].items()},
        **{f"train_regression.{key}": value for key, value in params["train_regression"].items()},
    }
    assert params["train_network"] == {"units": "64", "epochs": "30"}
    assert params["train_regression"].pop("strengths") == "[0.001, 0.01, 0.1, 1.0, 10.0]"
    assert params["train_regression"].keys() == {"folds", "best_strength"}


@pytest.mark.parametrize(
    ("step", "key", "points"),
    [
        ("train_network", "train/loss", 30),
        ("train_network", "train/accuracy", 30),
        ("train_regression", "cv/accuracy", 5),
        ("evaluate_network", "test/accuracy", 1),
    ],
)
def test_curves_have_a_point_per_step(quickstart, step, key, points):
    run_id = quickstart.runs[step].info.run_id
    curve = quickstart.client.get_metric_history(run_id, key)

    assert [point.step for point in curve] == list(range(points))


@pytest.mark.parametrize("step", ["evaluate_network", "evaluate_regression"])
def test_figure_and_report_are_artifacts(quickstart, step, tmp_path):
    run_id = quickstart.runs[step].info.run_id
    found = {
        item.path: Path(quickstart.client.download_artifacts(run_id, item.path, str(tmp_path)))
        for item in quickstart.client.list_artifacts(run_id)
    }

    assert found.keys() == {"confusion_matrix.png", "report.txt", "trackyard"}
    assert [path.name for path in found["trackyard"].iterdir()] == ["requirements.txt"]
    assert found["confusion_matrix.png"].read_bytes().startswith(b"\x89PNG")
    assert "weighted avg" in found["report.txt"].read_text()
