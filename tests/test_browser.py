"""Does the URL that Trackyard gives open the run in a real browser?"""

from __future__ import annotations

import runpy
import shutil
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from trackyard import Client, log_metric, pipeline, step

# The script that takes the README's picture serves and browses as this test does.
picture = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "docs/take_picture.py")))

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, picture.NAMES)), reason="there is no Chromium on the PATH"
)


@step(experiment_tracker="local")
def lighthouse():
    log_metric("visibility", 12.625, step=1)


@pipeline
def seamarks():
    lighthouse()


def test_url_of_an_embedded_run_opens_that_run(mlflow_project):
    with picture.project(mlflow_project.root):
        name = seamarks().name
        found = Client().get_pipeline_run(name).steps["lighthouse"]
        url = found.run_metadata["experiment_tracker_url"].value
        page = picture.browse(url, "12.625")

    assert url.endswith(mlflow_project.run("lighthouse").info.run_id)
    assert "lighthouse" in page
    assert "visibility" in page
    with pytest.raises(OSError, match="refused"):  # the server ended with `trackyard ui`
        urllib.request.urlopen(url.partition("/#")[0], timeout=5)
