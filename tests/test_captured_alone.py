"""Does a run that captures calls of SDKs which its code does not use cost it nothing of them?"""

from __future__ import annotations

import os
import subprocess
import sys

FLAVORS = ["comet", "mlflow", "neptune", "tensorboard", "trackio", "wandb"]
CODE = f"""
import sys
from trackyard import start_run

with start_run("plain", experiment_tracker=None, capture={FLAVORS!r}) as run:
    run.log_metric("loss", 0.5)
    sdks = ("comet_ml", "mlflow", "neptune", "tensorboard", "tensorboardX", "trackio", "wandb")
    print([name for name in sdks if name in sys.modules])
"""


def test_no_sdk_is_imported_that_the_code_does_not_import(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "TRACKYARD_CONTEXT": "0"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert "capture" not in done.stderr
