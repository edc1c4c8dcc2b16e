"""Does one training of each framework arrive alike in each tracker?"""

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


@pytest.fixture
def project(place):
    """Take the project that has a tracker of each flavor."""
    return place.root


@pytest.mark.long(reason="each framework, of which three need torch, with each tracker")
@pytest.mark.parametrize(
    "page",
    [
        *("catboost", "hydra", "keras", "lightgbm", "optuna", "scikit-learn", "xgboost"),
        *WITH_TORCH,
    ],
)
def test_each_tracker_has_as_many_points_of_each_metric(page, place, request, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    python = request.getfixturevalue("torch_python") if page in WITH_TORCH else sys.executable
    for name, content in FILES.findall((PAGES / f"{page}.md").read_text(encoding="utf-8")):
        Path(name).write_text(content, encoding="utf-8")
    with Path("trackyard.toml").open("a", encoding="utf-8") as file:
        file.write(f"[stacks.default]\nexperiment_trackers = {list(TRACKERS)}\n")
    subprocess.run([python, "train.py"], check=True, timeout=400)

    (row,) = Client().list_runs()
    run = Client().get_run(row.id)
    for each in [run, *run.children]:
        counts = {key: len(curve.values) for key, curve in each.curves.items()}
        assert counts or each is run
        for tracker in TRACKERS:
            found = stored(each.id, tracker)
            assert {key: len(found.metrics.get(key, ())) for key in counts} == counts, tracker
            assert [key for key in each.all_params if key not in found.params] == [], tracker
            assert found.status == "finished"
