"""Does a test see what its code logs, by the fixture `trackyard_run`?"""

from __future__ import annotations

import subprocess
import sys

import pytest

TESTS = """
import pytest
import trackyard


@trackyard.step
def train(rate):
    trackyard.log_params({"rate": rate, "model": {"depth": 3}})
    for step in range(3):
        trackyard.log_metric("loss", 1 / (step + 1), step=step)
    trackyard.set_tag("stage", "try")
    trackyard.log_text("fine", "report.txt")
    return rate


def test_of_a_step_sees_what_it_logs(trackyard_run):
    train(0.1)

    assert trackyard_run.metrics == {"loss": pytest.approx(1 / 3)}
    assert trackyard_run.history("loss")[0] == (0, 1.0)
    assert trackyard_run.params == {"rate": 0.1, "model.depth": 3}
    assert trackyard_run.tags["stage"] == "try"
    assert trackyard_run.artifacts["report.txt"].read_text() == "fine"


def test_begins_with_nothing(trackyard_run):
    assert trackyard_run.metrics == trackyard_run.params == {}
    assert list(trackyard_run.artifacts) == []


def test_that_fails(trackyard_run):
    train(0.1)
    assert trackyard_run.metrics == {}
"""


@pytest.mark.slow
def test_fixture_of_the_installed_plugin_gives_a_captured_run(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py"] in (
        [],
        ["__pycache__"],
    )
