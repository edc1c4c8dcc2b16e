"""Do trainings with a framework's own logger, unchanged, arrive where its SDK has no tracker?

Each is a program as a framework's users write it, with trackers of TensorBoard and MLflow and none
of W&B. Those with torch run in an environment apart.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trackyard import Client

pytestmark = pytest.mark.long(reason="seven frameworks, each in two trackers, some with torch")

TRACKERS = """
[experiment_trackers.board]
flavor = "tensorboard"
flush_timeout = 60

[experiment_trackers.local]
flavor = "mlflow"
start_timeout = 60
flush_timeout = 60

[stacks.default]
experiment_trackers = ["board", "local"]
capture = ["wandb"]
"""
LIGHTNING = """
import lightning, torch
from lightning.pytorch.loggers import WandbLogger
from torch.utils.data import DataLoader, TensorDataset

class Net(lightning.LightningModule):
    def __init__(self, rate=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(2, 1)
    def training_step(self, batch, index):
        loss = ((self.net(batch[0]) - batch[1]) ** 2).mean()
        self.log("train_loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.rate)

x = torch.randn(64, 2)
rows = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16)
logger = WandbLogger(project="mine")
trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=logger, log_every_n_steps=1,
    enable_progress_bar=False, enable_checkpointing=False)
trainer.fit(Net(), rows)
"""
TRANSFORMERS = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

rows = [{"input_ids": torch.arange(8) + i % 4, "labels": i % 2} for i in range(32)]
config = BertConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=32)
arguments = TrainingArguments("out", num_train_epochs=1, per_device_train_batch_size=8,
    logging_steps=1, save_strategy="no", report_to="wandb", use_cpu=True, disable_tqdm=True)
Trainer(BertForSequenceClassification(config), arguments, train_dataset=rows).train()
"""
WATCHED = """
import torch, wandb

net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
with wandb.init(project="mine", config={"rate": 0.1}) as run:
    run.watch(net, log="all", log_freq=1)
    for step in range(4):
        loss = (net(torch.ones(8, 2)) - 1).square().mean()
        loss.backward()
        optimizer.step()
        run.log({"loss": loss.item()})
"""
WRITER = """
import torch
from torch.utils.tensorboard import SummaryWriter

writer = SummaryWriter()
for step in range(4):
    writer.add_scalar("loss", 1 / (step + 1), step)
    writer.add_histogram("weights", torch.arange(10.0), step)
writer.close()
"""
SEARCH = """
import mlflow, numpy
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

mlflow.autolog(log_models=False)
x = numpy.arange(80.0).reshape(40, 2)
y = numpy.arange(40) % 2
GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(x, y)
"""
XGBOOST = """
import numpy, wandb, xgboost
from wandb.integration.xgboost import WandbCallback

x = numpy.arange(80.0).reshape(40, 2)
rows = xgboost.DMatrix(x, label=x[:, 0])
with wandb.init(project="mine"):
    xgboost.train({"max_depth": 2}, rows, 4, evals=[(rows, "train")], callbacks=[WandbCallback()])
"""
KERAS = """
import os
os.environ["KERAS_BACKEND"] = "jax"
import keras, mlflow, numpy

x = numpy.arange(80.0).reshape(40, 2)
net = keras.Sequential([keras.layers.Dense(1)])
net.compile("sgd", loss="mse")
with mlflow.start_run():
    net.fit(x / 80, x[:, :1] / 80, epochs=3, verbose=0, callbacks=[mlflow.keras.MlflowCallback()])
"""
# Each program, whether torch has it, and what has to be there: metrics with their points, params.
PROGRAMS = {
    "lightning": (LIGHTNING, True, {"train_loss": 8, "epoch": 8}, {"rate"}),
    "transformers": (TRANSFORMERS, True, {"train/loss": 4}, {"learning_rate"}),
    "watched": (WATCHED, True, {"loss": 4}, {"rate"}),
    "writer": (WRITER, True, {"loss": 4}, set()),
    "search": (SEARCH, False, {"best_cv_score": 1}, {"best_C", "cv"}),
    "xgboost": (XGBOOST, False, {"train-rmse": 4}, {"learner"}),
    "keras": (KERAS, False, {"loss": 3}, {"optimizer_learning_rate"}),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_that_a_frameworks_own_logger_logs_arrives_at_other_trackers(
    tmp_path, monkeypatch, request, name
):
    code, has_torch, metrics, params = PROGRAMS[name]
    python = request.getfixturevalue("torch_python") if has_torch else sys.executable
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackyard.toml").write_text(TRACKERS)
    (tmp_path / "train.py").write_text(code)
    done = subprocess.run(
        [python, "-m", "trackyard", "exec", "--name", name, "--", python, "train.py"],
        check=False,
        env={
            **os.environ,
            "TRACKYARD_PROGRESS": "0",
            "TRACKYARD_DISABLE_PLUGINS": "system-metrics",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    run = Client().get_run(name)
    found = {key: len(run.curves[key].values) for key in metrics if key in run.curves}
    assert found == metrics, sorted(run.curves)
    assert {key for key in params if any(has.startswith(key) for has in run.all_params)} == params
    for verified in Client().verify_run(run.id):
        assert (verified.state, verified.differences) == ("same", ()), verified.tracker
    if name == "search":
        assert [child.status for child in run.children] == ["finished", "finished"]
    if name in ("watched", "writer"):
        assert {one.kind for one in run.artifacts.values()} >= {"histogram"}
