"""What does another account of the machine see of a page that is served, and of its project?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from trackyard import start_run

PROGRAM = Path(__file__).parent / "second_account.py"
NOBODY = 65534


@pytest.fixture
def open_folder():
    """A folder that every account may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="second-account-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def ended(process):
    try:
        yield
    finally:
        process.terminate()


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root may start a process of another account")
def test_another_account_without_the_token_sees_nothing(open_folder, monkeypatch):
    project = open_folder / "project"
    project.mkdir(mode=0o755)
    (project / "trackyard.toml").write_text("[stacks.default]\nexperiment_trackers = []\n")
    monkeypatch.chdir(project)
    with start_run("secretive", experiment_tracker=None) as run:
        run.log_param("hidden", "secretive")
        run.log_text("secretive", "secretive.txt")
    command = [sys.executable, "-m", "trackyard", "page", "--no-open", "--port", "0"]
    with (
        subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as server,
        ended(server),
    ):
        link = server.stdout.readline().strip()
        home, _, token = link.partition("?token=")
        given = {"home": home, "run": run.id, "folders": [str(open_folder), tempfile.gettempdir()],
                 "processes": [server.pid, psutil.Process(server.pid).ppid()],
                 "words": ["secretive", token], "user": NOBODY}  # fmt: skip
        looked = subprocess.run(
            [sys.executable, str(PROGRAM)],
            input=json.dumps(given),
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )

    found = json.loads(looked.stdout)
    assert found["user"] == NOBODY
    assert set(found["answers"].values()) == {401}
    assert len(found["read"]) > 3  # it could look
    assert [name for name, words in found["read"].items() if words] == []
