"""Which lines does a user of each framework add? The entry points name these texts."""

from __future__ import annotations

ACCELERATE = """
from trackyard_integrations.accelerate import register
register()
accelerator = Accelerator(log_with="trackyard")
"""
CATBOOST = """
from trackyard_integrations.catboost import TrackyardCallback, log_summary
model.fit(X, y, callbacks=[TrackyardCallback()])
log_summary(model)
"""
HYDRA = """
# in the configuration, such as conf/config.yaml
hydra: {callbacks: {trackyard: {_target_: trackyard_integrations.hydra.TrackyardCallback}}}
"""
KERAS = """
from trackyard_integrations.keras import TrackyardCallback
model.fit(x, y, callbacks=[TrackyardCallback()])
"""
LIGHTGBM = """
from trackyard_integrations.lightgbm import TrackyardCallback, log_summary
booster = lightgbm.train(params, data, callbacks=[TrackyardCallback()])
log_summary(booster)
"""
LIGHTNING = """
from trackyard_integrations.lightning import TrackyardLogger
trainer = Trainer(logger=TrackyardLogger())
"""
OPTUNA = """
from trackyard_integrations.optuna import TrackyardCallback
study.optimize(objective, callbacks=[TrackyardCallback()])
"""
RAY_TRAIN = """
from trackyard_integrations.ray_train import TrackyardCallback
trainer = TorchTrainer(train, run_config=ray.train.RunConfig(callbacks=[TrackyardCallback()]))
"""
RAY_TUNE = """
from trackyard_integrations.ray_tune import TrackyardCallback
tuner = tune.Tuner(trial, run_config=tune.RunConfig(callbacks=[TrackyardCallback()]))
"""
SKLEARN = """
from trackyard_integrations.sklearn import tracked_fit
with tracked_fit(model):
    model.fit(X, y)
"""
TRANSFORMERS = """
from trackyard_integrations.transformers import TrackyardCallback
trainer = Trainer(model, arguments, callbacks=[TrackyardCallback()])
"""
XGBOOST = """
from trackyard_integrations.xgboost import TrackyardCallback
xgboost.train(params, data, callbacks=[TrackyardCallback()])
"""
