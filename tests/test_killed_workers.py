"""Does the bar for killed workers hold, on a smaller scale than `benchmarks/killed_workers.py`?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "killed_workers.py"


@pytest.mark.slow
def test_every_status_is_true_and_no_record_lost_where_workers_are_killed():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRACKYARD_")}
    result = subprocess.run(
        [sys.executable, BENCHMARK, "--steps", "24", "--retries", "1"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "24 attempts" not in result.stdout or "0 workers killed" in result.stdout
    assert "every status is true, no record is lost" in result.stdout
