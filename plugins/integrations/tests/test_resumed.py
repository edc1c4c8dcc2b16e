"""Is a training that is killed and goes on from its checkpoint one run, with each step once?

In each tracker; those of Ray are in test_ray.py.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from all_flavors import stored

from trackyard import Client

TRACKERS = ("mlflow", "wandb", "tensorboard", "trackio")
BEGINNING = """
import os, signal, sys
import numpy, trackyard

IS_RESUMED = sys.argv[1] == "resumed"
X, Y = numpy.arange(60.0).reshape(20, 3), numpy.arange(20) % 2

def the_run():
    return (trackyard.resume_run if IS_RESUMED else trackyard.start_run)("training")

def killed():
    if not IS_RESUMED:
        os.kill(os.getpid(), signal.SIGKILL)
"""
TRAININGS = {
    "accelerate": """
from accelerate import Accelerator
from trackyard_integrations.accelerate import register
register()
with the_run():
    accelerator = Accelerator(log_with="trackyard", cpu=True)
    accelerator.init_trackers("project", config={"lr": 0.1})
    for step in range(3 if IS_RESUMED else 0, 6):
        if step == 3:
            killed()
        accelerator.log({"loss": 1 / (step + 1)}, step=step)
    accelerator.end_training()
""",
    "catboost": """
import catboost
from trackyard_integrations.catboost import TrackyardCallback
model = catboost.CatBoostRegressor(iterations=3, allow_writing_files=False, verbose=False)
with the_run():
    before = "model.cbm" if IS_RESUMED else None
    model.fit(X, Y, callbacks=[TrackyardCallback()], init_model=before)
    model.save_model("model.cbm")
    killed()
""",
    "keras": """
import keras
from trackyard_integrations.keras import TrackyardCallback
model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
class Saving(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.save("model.keras")
        if epoch == 2:
            killed()
with the_run():
    if IS_RESUMED:
        model = keras.saving.load_model("model.keras")
    epochs = 3 if IS_RESUMED else 6  # which Keras counts from 0 again
    model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[TrackyardCallback(), Saving()])
""",
    "lightgbm": """
import lightgbm
from trackyard_integrations.lightgbm import TrackyardCallback
data, params = lightgbm.Dataset(X, Y), {"verbose": -1, "min_data_in_leaf": 1}
def saving(env):
    env.model.save_model("model.txt")
    if env.iteration == 2:
        killed()
saving.order = 30
with the_run():
    before = "model.txt" if IS_RESUMED else None
    lightgbm.train(params, data, 3 if IS_RESUMED else 6, [data], init_model=before,
        callbacks=[TrackyardCallback(), saving])
""",
    "lightning": """
import lightning, torch
from lightning.pytorch.callbacks import ModelCheckpoint
from trackyard_integrations.lightning import TrackyardLogger
class Net(lightning.LightningModule):
    def __init__(self, rate=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(3, 1)
    def training_step(self, batch, index):
        if self.global_step == 3:
            killed()
        loss = self.net(batch).square().mean()
        self.log("loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.rate)
data = torch.utils.data.DataLoader(torch.ones(12, 3), batch_size=2)
with the_run():
    saving = ModelCheckpoint("saved", save_last=True, every_n_train_steps=1)
    lightning.Trainer(max_epochs=1, accelerator="cpu", logger=TrackyardLogger(),
        log_every_n_steps=1, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[saving],
    ).fit(Net(), data, ckpt_path="saved/last.ckpt" if IS_RESUMED else None)
""",
    "optuna": """
import optuna
from trackyard_integrations.optuna import TrackyardCallback
study = optuna.create_study(storage="sqlite:///study.db", study_name="s", load_if_exists=True)
with the_run():
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 3,
        callbacks=[TrackyardCallback()])
    killed()
""",
    "transformers": """
import torch
from transformers import (
    BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments,
)
from trackyard_integrations.transformers import TrackyardCallback
class Killed(TrainerCallback):
    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 3:
            killed()
rows = [{"input_ids": torch.arange(8), "labels": 0}] * 20
config = BertConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=32)
arguments = TrainingArguments("out", logging_steps=1, save_steps=1, max_steps=6, use_cpu=True,
    per_device_train_batch_size=2, disable_tqdm=True, report_to="none")
with the_run():
    Trainer(BertForSequenceClassification(config), arguments, train_dataset=rows,
        callbacks=[TrackyardCallback(), Killed()]).train(resume_from_checkpoint=IS_RESUMED)
""",
    "xgboost": """
import xgboost
from trackyard_integrations.xgboost import TrackyardCallback
class Saving(xgboost.callback.TrainingCallback):
    def after_iteration(self, model, epoch, evals_log):
        model.save_model("model.ubj")
        if epoch == 2:
            killed()
data = xgboost.DMatrix(X, Y)
with the_run():
    before = "model.ubj" if IS_RESUMED else None
    xgboost.train({"eta": 0.3}, data, 3 if IS_RESUMED else 6, evals=[(data, "train")],
        xgb_model=before, callbacks=[TrackyardCallback(), Saving()])
""",
}
METRICS = {
    "catboost": "learn-RMSE",
    "lightgbm": "training-l2",
    "optuna": "best_value",
    "transformers": "train/loss",
    "xgboost": "train-rmse",
}
WITH_TORCH = ("accelerate", "lightning", "transformers")


@pytest.fixture
def project(place):
    """Take the project that has a tracker of each flavor."""
    return place.root


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("xgboost", marks=pytest.mark.slow),
        *(
            pytest.param(name, marks=pytest.mark.long(reason="seven frameworks, in two processes"))
            for name in TRAININGS
            if name != "xgboost"
        ),
    ],
)
def test_training_that_is_killed_and_resumed_is_one_run_with_each_step_once(
    name, project, framework, request, monkeypatch
):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    if name in WITH_TORCH:
        python = request.getfixturevalue("torch_python")
    else:
        framework(name)
        python = sys.executable
    with (project / "trackyard.toml").open("a", encoding="utf-8") as file:
        file.write(f"[stacks.default]\nexperiment_trackers = {list(TRACKERS)}\n")
    (project / "train.py").write_text(BEGINNING + TRAININGS[name])
    codes = [
        subprocess.run([python, "train.py", phase], check=False, timeout=400).returncode
        for phase in ("killed", "resumed")
    ]

    assert codes == [-9, 0]
    (row,) = Client().list_runs()
    run = Client().get_run(row.id)
    here = run.curves[METRICS.get(name, "loss")]
    first = name == "transformers"  # which counts the steps that are done
    assert (run.status, list(here.steps)) == ("finished", list(range(first, 6 + first)))
    for tracker in TRACKERS:
        found = stored(run.id, tracker)
        points = sorted((metric.step, metric.value) for metric in found.metrics[here.key])
        assert [step for step, _ in points] == list(here.steps), tracker
        assert [value for _, value in points] == pytest.approx(list(here.values)), tracker
        assert [key for key in run.all_params if key not in found.params] == [], tracker
