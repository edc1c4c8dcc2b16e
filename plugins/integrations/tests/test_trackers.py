"""Does one training arrive alike in each tracker, also after it was killed and resumed?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from all_flavors import stored

from trackyard import Client

PAGES = Path(__file__).parents[3] / "docs" / "frameworks"
FILES = re.compile(r"^```\w+\n# ([\w.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_TORCH = ("accelerate", "lightning", "transformers")

TRACKERS = ("mlflow", "wandb", "tensorboard", "trackio")
TRAINING = """
import os, signal, sys
import numpy, trackyard, xgboost
from trackyard_integrations.xgboost import TrackyardCallback

class Killed(xgboost.callback.TrainingCallback):
    def after_iteration(self, model, epoch, evals_log):
        if epoch == 3:
            model.save_model("model.ubj")
            os.kill(os.getpid(), signal.SIGKILL)

data = xgboost.DMatrix(numpy.arange(40.0).reshape(20, 2), numpy.arange(20) % 3)
def train(rounds, model=None, *more):
    callbacks = [TrackyardCallback(), *more]
    evals = [(data, "train")]
    xgboost.train({"eta": 0.3}, data, rounds, evals=evals, xgb_model=model, callbacks=callbacks)
"""
KILLED = """
with trackyard.start_run("training", experiment_tracker=TRACKERS):
    train(6, None, Killed())
"""
RESUMED = """
with trackyard.resume_run("training"):
    train(2, "model.ubj")
"""


@pytest.fixture
def project(place):
    """Take the project that has a tracker of each flavor."""
    return place.root


def python(code):
    text = TRAINING + code.replace("TRACKERS", repr(list(TRACKERS)))
    done = subprocess.run([sys.executable, "-c", text], check=False, timeout=300)
    return done.returncode


@pytest.mark.slow
def test_training_that_is_killed_and_resumed_is_one_run_with_each_step_once(place, framework):
    framework("xgboost")
    assert python(KILLED) == -9
    assert python(RESUMED) == 0

    run = Client().get_run("training")
    here = run.curves["train-rmse"]
    assert (run.status, list(here.steps)) == ("finished", [0, 1, 2, 3, 4, 5])
    for name in TRACKERS:
        found = stored(run.id, name)
        points = sorted((metric.step, metric.value) for metric in found.metrics["train-rmse"])
        assert [step for step, _ in points] == [0, 1, 2, 3, 4, 5], name
        assert [value for _, value in points] == pytest.approx(list(here.values)), name
        missing = [key for key in run.all_params if key not in found.params]
        assert missing == [], name


@pytest.mark.long(reason="each framework, of which three need torch, with each tracker")
@pytest.mark.parametrize(
    "page",
    ["catboost", "hydra", "keras", "lightgbm", "optuna", "scikit-learn", "xgboost", *WITH_TORCH],
)
def test_each_tracker_has_as_many_points_of_each_metric(page, place, request, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    python, trackers = sys.executable, TRACKERS
    if page in WITH_TORCH:  # whose environment has the flavor of TensorBoard alone
        python, trackers = request.getfixturevalue("torch_python"), ("tensorboard",)
    for name, content in FILES.findall((PAGES / f"{page}.md").read_text(encoding="utf-8")):
        Path(name).write_text(content, encoding="utf-8")
    with Path("trackyard.toml").open("a", encoding="utf-8") as file:
        file.write(f"[stacks.default]\nexperiment_trackers = {list(trackers)}\n")
    subprocess.run([python, "train.py"], check=True, timeout=400)

    (row,) = Client().list_runs()
    run = Client().get_run(row.id)
    for each in [run, *run.children]:
        counts = {key: len(curve.values) for key, curve in each.curves.items()}
        assert counts or each is run
        for tracker in trackers:
            found = stored(each.id, tracker)
            assert {key: len(found.metrics.get(key, ())) for key in counts} == counts, tracker
            assert [key for key in each.all_params if key not in found.params] == [], tracker
            assert found.status == "finished"
