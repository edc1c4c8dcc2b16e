"""Which of an SDK's own calls does `kill -9` cost, and does the flavor's page say so?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each page says; and whether the very last calls are kept, or only those before a pause.
KEEPS = {
    "mlflow": ("A `kill -9` loses no call of MLflow's that has returned.", True),
    "neptune": ("a `kill -9` loses none", True),
    "tensorboard": ("a `kill -9` loses no point whose call has returned", True),
    "wandb": ("A `kill -9` loses nothing of `wandb.log`", True),
    "comet": ("a `kill -9` within a tenth of a second of a call loses it", False),
    "trackio": ("`trackio.log` sends what it has every half second: `kill -9` loses that", False),
}
CALLS = {
    "mlflow": ("import mlflow", 'mlflow.log_metric("loss", n, step=n)'),
    "neptune": (
        "import neptune; made = neptune.init_run(project='a/b')",
        'made["loss"].append(n, step=n)',
    ),
    "tensorboard": (
        "from tensorboardX import SummaryWriter; made = SummaryWriter()",
        'made.add_scalar("loss", n, n)',
    ),
    "wandb": ("import wandb; made = wandb.init(project='mine')", 'made.log({"loss": n}, step=n)'),
    "comet": (
        "import comet_ml; made = comet_ml.start(project_name='mine')",
        'made.log_metric("loss", n, step=n)',
    ),
    "trackio": ("import trackio; trackio.init(project='mine')", 'trackio.log({"loss": n}, step=n)'),
}
PROGRAM = """
import os, signal, time
from trackyard import start_run

with start_run("killed", experiment_tracker=None, capture=[{sdk!r}]):
    {begin}
    for n in range(20):
        {call}
    time.sleep(3.0)  # more than any SDK keeps a call to itself
    for n in range(20, 40):
        {call}
    os.kill(os.getpid(), signal.SIGKILL)
"""
LOOK = """
import json
from trackyard import Client

run = Client().get_run("killed")
print(json.dumps([run.status, run.metrics["loss"].points, run.metrics["loss"].last]))
"""


def python(folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    environment |= {"TRACKYARD_CONTEXT": "0", "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def cases():
    for sdk in KEEPS:
        whole = pytest.mark.long(reason="six programs that import an SDK each and are killed")
        yield pytest.param(sdk, marks=pytest.mark.slow if sdk == "neptune" else whole)


@pytest.mark.parametrize("sdk", list(cases()))
def test_calls_that_had_returned_before_a_kill_are_kept(sdk, tmp_path):
    begin, call = CALLS[sdk]
    killed = python(tmp_path, "-c", PROGRAM.format(sdk=sdk, begin=begin, call=call))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    python(tmp_path, "-m", "trackyard", "sync")  # it reads what the SDK's own files hold
    looked = python(tmp_path, "-c", LOOK)
    status, count, last = json.loads(looked.stdout or looked.stderr)

    assert status == "crashed"
    assert count >= (40 if KEEPS[sdk][1] else 20)
    assert last == count - 1  # what is lost is the last, and nothing is there twice


def test_each_page_says_what_a_kill_costs():
    for sdk, (words, _) in KEEPS.items():
        page = (ROOT / f"docs/flavors/{sdk}.md").read_text(encoding="utf-8")
        assert words in page, f"docs/flavors/{sdk}.md does not say {words!r}"
