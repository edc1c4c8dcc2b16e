"""What does a line of `trackyard-integrations` cost a training step, beside a framework's logger?

    uv run benchmarks/integrations.py [FRAMEWORK...]

Each framework trains the same small model with its own logger for its fastest SDK and with ours,
which delivers to the same SDK, each time in a process of its own, in turns. What the training waits
for in the logger is measured, in microseconds for one step; shown are medians of the rounds:

* `CPU`: of the thread that trains;
* `wall`: time in the logger, which other work on the machine lengthens.

Those with torch run where `TORCH_PYTHON` says, as `.ci/long` makes it; XGBoost here.
Ours must not cost the thread that trains more than the framework's own does.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 3
# Between rounds the own loggers themselves differ by this much.
TOLERANCE = 1.1
SECONDS = """
import json, sys, time
logger, steps, costs = sys.argv[1], 300, []
def timed(owner, name):
    call = getattr(owner, name)
    def in_time(*args, **kwargs):
        cpu, wall = time.thread_time(), time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            costs.append((time.thread_time() - cpu, time.perf_counter() - wall))
    setattr(owner, name, in_time)
def said():
    counted = costs[20:steps]  # the first ones open files, the last ones close them
    print(json.dumps([sum(each) / len(counted) * 1e6 for each in zip(*counted)]))
"""
LIGHTNING = """
import logging, warnings
import lightning, torch
from lightning.pytorch.loggers import TensorBoardLogger
logging.getLogger("lightning").setLevel(logging.ERROR)
warnings.simplefilter("ignore")
class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        loss = self.net(batch).square().mean()
        self.log("loss", loss)
        self.log("twice", 2 * loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)
if logger == "ours":
    from trackyard_integrations.lightning import TrackyardLogger
chosen = TrackyardLogger() if logger == "ours" else TensorBoardLogger("own")
timed(chosen, "log_metrics")
torch.set_num_threads(1)
lightning.Trainer(max_steps=steps, max_epochs=-1, accelerator="cpu", logger=chosen,
    log_every_n_steps=1, enable_progress_bar=False, enable_model_summary=False,
    enable_checkpointing=False).fit(Net(), torch.utils.data.DataLoader(torch.randn(4000, 4), 8))
"""
TRANSFORMERS = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
if logger == "ours":
    from trackyard_integrations.transformers import TrackyardCallback as Chosen
else:
    from transformers.integrations import TensorBoardCallback as Chosen
timed(Chosen, "on_log")
torch.set_num_threads(1)
rows = [{"input_ids": torch.arange(8) + i % 4, "labels": i % 2} for i in range(64)]
sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
model = BertForSequenceClassification(BertConfig(vocab_size=64, intermediate_size=32, **sizes))
Trainer(model, TrainingArguments("out", max_steps=steps, logging_steps=1, report_to="none",
    use_cpu=True, disable_tqdm=True, save_strategy="no", log_level="error"),
    train_dataset=rows, callbacks=[Chosen()]).train()
"""
ACCELERATE = """
from accelerate import Accelerator
if logger == "ours":
    from trackyard_integrations.accelerate import register
    register()
chosen = "trackyard" if logger == "ours" else "tensorboard"
accelerator = Accelerator(log_with=chosen, project_dir="own", cpu=True)
accelerator.init_trackers("project")
timed(accelerator.trackers[0], "log")
for number in range(steps):
    accelerator.log({"loss": 1 / (number + 1), "twice": 2.0}, step=number)
accelerator.end_training()
"""
XGBOOST = """
import numpy, xgboost
x = numpy.random.default_rng(0).normal(size=(200, 4))
data = xgboost.DMatrix(x, x.sum(axis=1) > 0)
if logger == "own":
    import wandb
    from wandb.integration.xgboost import WandbCallback
    wandb.init(mode="offline", project="benchmark")
    chosen = WandbCallback()
else:
    from trackyard_integrations.xgboost import TrackyardCallback
    chosen = TrackyardCallback()
timed(chosen, "after_iteration")
xgboost.train({"max_depth": 2, "nthread": 1, "objective": "binary:logistic"}, data, steps,
    evals=[(data, "train")], verbose_eval=False, callbacks=[chosen])
"""
# The program, the flavor of ours, and the names of the framework's own logger.
FRAMEWORKS = {
    "lightning": (LIGHTNING, "tensorboard", "TensorBoardLogger"),
    "transformers": (TRANSFORMERS, "tensorboard", "TensorBoardCallback"),
    "accelerate": (ACCELERATE, "tensorboard", "TensorBoardTracker"),
    "xgboost": (XGBOOST, "wandb", "WandbCallback"),
}


def measured(python: str, program: str, flavor: str, logger: str) -> list[float]:
    """Give CPU of the thread that trains and time in the logger, in microseconds a step.

    Args:
        python: The interpreter.
        program: The training.
        flavor: What ours delivers to.
        logger: `own` or `ours`.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        text = f"[experiment_trackers.it]\nflavor = '{flavor}'\n"
        text += "mode = 'offline'\n" if flavor == "wandb" else ""
        text += "[stacks.default]\nexperiment_trackers = ['it']\n"
        (Path(folder) / "trackyard.toml").write_text(text)
        variables = {"TRACKYARD_PROGRESS": "0", "WANDB_SILENT": "true", "WANDB_MODE": "offline"}
        done = subprocess.run(
            [python, "-c", f"{SECONDS}{program}\nsaid()", logger],
            check=False,
            cwd=folder,
            env=os.environ | variables,
            capture_output=True,
            timeout=900,
        )
    if done.returncode:
        sys.exit(done.stderr.decode())
    line = next(line for line in done.stdout.splitlines()[::-1] if line.startswith(b"["))
    found: list[float] = json.loads(line)
    return found


def compared(name: str) -> bool:
    """Print a framework's lines; tell whether ours is no dearer.

    Args:
        name: The framework.
    """
    program, flavor, own = FRAMEWORKS[name]
    python = sys.executable if name == "xgboost" else os.environ["TORCH_PYTHON"]
    found: dict[str, list[list[float]]] = {"own": [], "ours": []}
    for _ in range(ROUNDS):
        for logger, rounds in found.items():
            rounds.append(measured(python, program, flavor, logger))
    cpu: dict[str, float] = {}
    for logger, label in (("own", own), ("ours", f"ours, to {flavor}")):
        cpu[logger], wall = map(statistics.median, zip(*found[logger], strict=True))
        print(f"{name:13} {label:22} {cpu[logger]:9.1f} {wall:9.1f}", flush=True)
    return cpu["ours"] <= cpu["own"] * TOLERANCE


def main(names: list[str]) -> int:
    """Compare frameworks.

    Args:
        names: Those that are wanted; all by default that can run here.
    """
    torch = "TORCH_PYTHON" in os.environ
    wanted = names or [name for name in FRAMEWORKS if torch or name == "xgboost"]
    print(f"{'us per step':36} {'CPU':>9} {'wall':>9}")
    slower = [name for name in wanted if not compared(name)]
    if slower:
        print(f"slower than the framework's own: {', '.join(slower)}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
