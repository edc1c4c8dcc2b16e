"""Does the shell script of the docs track its commands as one pipeline's?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recipes import Recipe


@pytest.mark.slow
def test_commands_of_a_shell_script_are_steps_of_one_run(tmp_path):
    recipe = Recipe(tmp_path, None)
    (tmp_path / "load.py").write_text("print('loaded')")
    log = "trackyard log metric loss 0.5 --step 0"
    (tmp_path / "train.py").write_text(f"import subprocess; subprocess.run({log.split()})")
    scripts = Path(sys.executable).parent
    variables = {k: v for k, v in os.environ.items() if not k.startswith("TRACKYARD_")}
    variables |= {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "nightly.sh"],
        check=False,
        cwd=tmp_path,
        env={**variables, "PYTHONPATH": str(tmp_path), "TRACKYARD_WATCHDOG": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "loaded" in done.stdout

    load, train = recipe.tracked()
    steps = [run["tags"]["trackyard.step"] for run in (load, train)]
    assert steps == ["load", "train"]
    assert load["tags"]["trackyard.group"] == train["tags"]["trackyard.group"]
    assert [run["tags"]["trackyard.status"] for run in (load, train)] == ["finished"] * 2
    assert [row[0] for row in recipe.stored()] == ["load", "train"]
    assert train["params"] == {"rate": "0.1"}
    assert [m[:3] for m in train["metrics"]] == [["loss", 0.5, 0]]
