"""Does the URL that Trackyard prints open the run in a real browser?"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pytest
from matrices import first_by_default

from trackyard import Client, log_metric, pipeline, step

# The script that takes the README's picture serves and browses as this test does.
picture = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "docs/take_picture.py")))

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, picture.NAMES)), reason="there is no Chromium on the PATH"
)

PROGRAM = """
from trackyard import log_metric, pipeline, step

@step(experiment_tracker="board")
def lighthouse():
    log_metric("visibility", 12.625, step=1)

@pipeline
def seamarks():
    lighthouse()

seamarks()
"""
# What each page shows of the run once it has found it.
SHOWN = {
    "tensorboard": "visibility",
    "trackio": "trackyard.run_id",
}


@step(experiment_tracker="local")
def lighthouse():
    log_metric("visibility", 12.625, step=1)


@pipeline
def seamarks():
    lighthouse()


@pytest.mark.slow
def test_url_of_an_embedded_run_opens_that_run(mlflow_project):
    with picture.project(mlflow_project.root):
        name = seamarks().name
        found = Client().get_pipeline_run(name).steps["lighthouse"]
        url = found.run_metadata["experiment_tracker_url"].value
        page = picture.browse(url, "12.625")

    assert mlflow_project.run("lighthouse").info.run_id in url
    assert "lighthouse" in page
    assert "visibility" in page
    assert_nothing_listens(url.partition("/#")[0])  # the server ended with `trackyard ui`


@pytest.mark.slow
@pytest.mark.parametrize("flavor", first_by_default(SHOWN))
def test_printed_url_opens_the_run_in_the_page_that_trackyard_serves(flavor, tmp_path):
    port = picture.free_port()
    text = f'[experiment_trackers.board]\nflavor = "{flavor}"\nui_port = {port}\n'
    (tmp_path / "trackyard.toml").write_text(text)
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRACKYARD_")}
    done = subprocess.run(
        [sys.executable, "program.py"],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (url,) = set(re.findall(r"http://\S+", done.stdout + done.stderr))

    with served_page(tmp_path, environment, port):
        page = unescape(picture.browse(url, SHOWN[flavor]))

    assert "lighthouse" in page


@contextmanager
def served_page(folder, environment, port):
    """Serve a tracker's page by `trackyard ui`, and see it end with it."""
    with (folder / "ui.log").open("wb") as log:
        command = [sys.executable, "-m", "trackyard", "ui", "board"]
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        picture.wait_for(f"http://127.0.0.1:{port}/", server)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        picture.end(server)
    assert_nothing_listens(f"http://127.0.0.1:{port}/")


def assert_nothing_listens(url):
    """No connection is answered, and soon each is refused: one that comes in the end is reset."""
    give_up_at = time.monotonic() + 10
    while True:
        with pytest.raises(OSError, match=r"refused|reset") as caught:
            urllib.request.urlopen(url, timeout=5)
        if "refused" in str(caught.value):
            return
        assert time.monotonic() < give_up_at, caught.value
