"""Is a training of each framework that raises a failed run, and one that is killed whole?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from trackyard import Client

LOGGED = 3  # points before each training ends
BEGINNING = """
import os, signal
import numpy, trackyard

def end():
    if os.environ["ENDING"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("broken")

X, Y = numpy.arange(60.0).reshape(20, 3), numpy.arange(20) % 2
"""
TRAININGS = {
    "accelerate": """
from accelerate import Accelerator
from trackyard_integrations.accelerate import register
register()
accelerator = Accelerator(log_with="trackyard", cpu=True)
accelerator.init_trackers("project", config={"lr": 0.1})
for step in range(3):
    accelerator.log({"loss": 1 / (step + 1)}, step=step)
end()
""",
    "catboost": """
import catboost
from trackyard_integrations.catboost import TrackyardCallback
class Ending:
    def after_iteration(self, info):
        return info.iteration < 3 or end()
model = catboost.CatBoostRegressor(iterations=9, allow_writing_files=False, verbose=False)
with trackyard.start_run():
    model.fit(X, Y, callbacks=[TrackyardCallback(), Ending()])
""",
    "hydra": """
import hydra
@hydra.main(version_base=None, config_path=".", config_name="config")
def main(config):
    for step in range(3):
        trackyard.log_metric("loss", config.rate, step=step)
    end()
main()
""",
    "keras": """
import keras
from trackyard_integrations.keras import TrackyardCallback
ending = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch < 2 or end())
model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(X, Y, epochs=9, verbose=0, callbacks=[TrackyardCallback(), ending])
""",
    "lightgbm": """
import lightgbm
from trackyard_integrations.lightgbm import TrackyardCallback
def ending(env):
    if env.iteration == 2:
        end()
ending.order = 30
data, params = lightgbm.Dataset(X, Y), {"verbose": -1, "min_data_in_leaf": 1}
with trackyard.start_run():
    lightgbm.train(params, data, 9, [data], callbacks=[TrackyardCallback(), ending])
""",
    "lightning": """
import lightning, torch
from trackyard_integrations.lightning import TrackyardLogger
class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 1)
    def training_step(self, batch, index):
        if index == 3:
            end()
        loss = self.net(batch).mean()
        self.log("loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
data = torch.utils.data.DataLoader(torch.ones(20, 3), batch_size=2)
lightning.Trainer(max_epochs=1, accelerator="cpu", logger=TrackyardLogger(), log_every_n_steps=1,
    enable_progress_bar=False, enable_model_summary=False).fit(Net(), data)
""",
    "optuna": """
import optuna
from trackyard_integrations.optuna import tracked_trial
@tracked_trial
def objective(trial):
    for step in range(3):
        trackyard.log_metric("loss", trial.suggest_float("x", 0, 1), step=step)
    end()
optuna.create_study().optimize(objective, 1)
""",
    "sklearn": """
from sklearn.linear_model import LinearRegression
from trackyard_integrations.sklearn import tracked_fit
with tracked_fit(LinearRegression()) as run:
    for step in range(3):
        run.log_metric("loss", 1.0, step=step)
    end()
""",
    "transformers": """
import torch
from transformers import (
    BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments,
)
from trackyard_integrations.transformers import TrackyardCallback
class Ending(TrainerCallback):
    def on_log(self, args, state, control, **_):
        if state.global_step == 3:
            end()
rows = [{"input_ids": torch.arange(8), "labels": 0}] * 20
config = BertConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=32)
arguments = TrainingArguments("out", logging_steps=1, per_device_train_batch_size=2, use_cpu=True,
    disable_tqdm=True, report_to="none")
Trainer(BertForSequenceClassification(config), arguments, train_dataset=rows,
    callbacks=[TrackyardCallback(), Ending()]).train()
""",
    "xgboost": """
import xgboost
from trackyard_integrations.xgboost import TrackyardCallback
class Ending(xgboost.callback.TrainingCallback):
    def after_iteration(self, model, epoch, evals_log):
        return epoch == 2 and end()
data = xgboost.DMatrix(X, Y)
xgboost.train({}, data, 9, evals=[(data, "train")], callbacks=[TrackyardCallback(), Ending()])
""",
}
METRICS = {
    "catboost": "learn-RMSE",
    "lightgbm": "training-l2",
    "transformers": "train/loss",
    "xgboost": "train-rmse",
}
WITH_TORCH = ("accelerate", "lightning", "transformers")
HYDRA = "rate: 0.5\nhydra: {callbacks: {trackyard: {_target_: "
HYDRA += "trackyard_integrations.hydra.TrackyardCallback}}}\n"


@pytest.mark.long(reason="ten frameworks, each in two processes that import it")
@pytest.mark.parametrize("ending", ["failed", "killed"])
@pytest.mark.parametrize("name", TRAININGS)
def test_training_that_ends_badly_says_so_and_has_kept_each_point(
    name, ending, project, request, monkeypatch, framework
):
    python = sys.executable
    if name in WITH_TORCH:
        python = request.getfixturevalue("torch_python")
    else:
        framework(name)
    monkeypatch.setenv("ENDING", ending)
    (project / "config.yaml").write_text(HYDRA)
    (project / "program.py").write_text(BEGINNING + TRAININGS[name])
    done = subprocess.run(
        [python, "program.py"],
        check=False,
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ | {"HYDRA_FULL_ERROR": "1"},
    )

    was_killed = ending == "killed"
    assert done.returncode == (-signal.SIGKILL if was_killed else 1), done.stderr
    assert was_killed or "broken" in done.stderr
    (row,) = Client().list_runs()
    run = Client().get_run(row.id)
    assert run.status == ("crashed" if was_killed else "failed")
    assert len(run.curves[METRICS.get(name, "loss")].values) == LOGGED
