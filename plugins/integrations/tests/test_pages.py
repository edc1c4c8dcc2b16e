"""Does the training on each framework's page arrive as the page says?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[3] / "docs" / "frameworks"
WITHOUT_TORCH = {
    "catboost": "catboost",
    "hydra": "hydra",
    "keras": "keras",
    "lightgbm": "lightgbm",
    "optuna": "optuna",
    "scikit-learn": "sklearn",
    "xgboost": "xgboost",
}
WITH_TORCH = ("accelerate", "lightning", "transformers", "write-one")


@pytest.mark.slow
@pytest.mark.parametrize("page", WITHOUT_TORCH)
def test_training_of_the_page_arrives_as_it_says(page, shown, framework):
    framework(WITHOUT_TORCH[page])
    shown(page, sys.executable)


@pytest.mark.long(reason="frameworks with torch, in an environment of 5 GB")
@pytest.mark.parametrize("page", WITH_TORCH)
def test_training_with_torch_of_the_page_arrives_as_it_says(page, shown, torch_python):
    shown(page, torch_python)


def test_every_page_is_tried():
    tried = {*WITHOUT_TORCH, *WITH_TORCH, "ray"}  # that of Ray in test_ray.py, on a cluster

    assert {path.stem for path in PAGES.glob("*.md")} == tried
