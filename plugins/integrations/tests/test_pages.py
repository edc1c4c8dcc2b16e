"""Does the training on each framework's page arrive as the page says?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
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

# The extra of each page, and what else its training needs. The newest releases are those of
# constraints.txt, with which all other tests run.
OLDEST = {
    **{page: (extra,) for page, extra in WITHOUT_TORCH.items()},
    "keras": ("keras", "jax>=0.5"),
    "lightning": ("lightning",),
    "transformers": ("transformers", "torch>=2.15", "accelerate>=1.15"),
}
ROOT = PAGES.parents[1]


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


def test_every_training_with_curves_has_its_picture():
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES.glob("*.md"))
    shown = {PAGES / name for name in re.findall(r"^!\[.+\]\((.+)\)$", text, re.MULTILINE)}
    pictures = [*(PAGES.parent / "images/frameworks").iterdir()]

    assert len(shown) == 8
    assert {path.resolve() for path in shown} == {*pictures}
    assert all(path.stat().st_size < 60_000 for path in pictures)


@pytest.mark.long(reason="an environment for each framework, three of them with torch")
@pytest.mark.parametrize("page", [*OLDEST, "accelerate"])
def test_training_of_the_page_arrives_with_the_oldest_release_that_the_extra_allows(
    page, shown, with_oldest
):
    if page != "accelerate":
        shown(page, with_oldest(*OLDEST[page]))
        return
    # Accelerate took no trackers of others by name then.
    shown(
        page,
        with_oldest("accelerate"),
        ("import register", "import TrackyardTracker"),
        ("register()\n", ""),
        ('"trackyard"', '[TrackyardTracker("digits")]'),
    )


@pytest.fixture
def with_oldest(tmp_path_factory):
    """Give a function that makes an environment with an extra's oldest releases."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is needed, which alone takes the oldest releases")

    def python(extra, *more):
        folder = tmp_path_factory.mktemp("oldest")
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)
        named = ["-e", ROOT / "core", "-e", f"{ROOT}/plugins/integrations[{extra}]", *more]
        oldest = ["--resolution", "lowest-direct", "--python", folder]
        subprocess.run([uv, "pip", "install", "-q", *oldest, *named], check=True)
        return str(folder / "bin" / "python")

    return python
