"""Does each framework's training arrive in a run, by the line that its users add?"""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy
import pytest

import trackyard
import trackyard_integrations
from trackyard import Client
from trackyard_integrations import lines
from trackyard_integrations.pictures import LogsImages

pytestmark = pytest.mark.slow

generator = numpy.random.default_rng(0)
X = generator.normal(size=(80, 3))
Y = (X.sum(axis=1) > 0).astype(int)


def view(name="training"):
    return Client().get_run(name)


def points(run, key):
    return list(run.curves[key].values)


def test_training_of_xgboost_arrives_with_each_step_once(framework):
    xgboost = framework("xgboost")
    from trackyard_integrations.xgboost import TrackyardCallback

    data = xgboost.DMatrix(X, Y)
    scores = {}
    with trackyard.start_run("training"):
        xgboost.train(
            {"objective": "binary:logistic", "max_depth": 2},
            *(data, 5),
            evals=[(data, "train")],
            evals_result=scores,
            callbacks=[TrackyardCallback(log_model=True)],
        )
        xgboost.cv({"max_depth": 2}, data, 3, callbacks=[TrackyardCallback()])

    run = view()
    assert run.status == "finished"
    assert points(run, "train-logloss") == scores["train"]["logloss"]
    assert len(points(run, "test-rmse-mean")) == len(points(run, "test-rmse-std")) == 3
    assert "learner_model_param.num_feature" in run.all_params
    assert "feature_importance.json" in run.artifacts


def test_training_that_finds_no_run_starts_and_ends_one_of_its_own(framework):
    xgboost = framework("xgboost")
    from trackyard_integrations.xgboost import TrackyardCallback

    callback = TrackyardCallback()
    data = xgboost.DMatrix(X, Y)
    xgboost.train({}, data, 2, evals=[(data, "train")], callbacks=[callback])
    xgboost.train({}, data, 2, evals=[(data, "train")], callbacks=[callback])

    (run,) = Client().list_runs()
    assert run.status == "finished"
    assert len(points(view(run.id), "train-rmse")) == 4
    with pytest.raises(trackyard.NoActiveRunError):
        trackyard.current_run()


def test_training_that_raises_marks_the_run_failed(tmp_path, framework):
    framework("xgboost")
    code = """
import numpy, xgboost
from trackyard_integrations.xgboost import TrackyardCallback
class Broken(xgboost.callback.TrainingCallback):
    def after_iteration(self, model, epoch, evals_log):
        raise ValueError("broken")
data = xgboost.DMatrix(numpy.eye(4), numpy.arange(4))
xgboost.train({}, data, 2, evals=[(data, "train")], callbacks=[TrackyardCallback(), Broken()])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    (run,) = Client().list_runs()
    assert "ValueError: broken" in done.stderr
    assert run.status == "failed"
    assert len(points(view(run.id), "train-rmse")) == 1


def test_training_of_lightgbm_arrives_with_its_summary(framework):
    lightgbm = framework("lightgbm")
    from trackyard_integrations.lightgbm import TrackyardCallback, log_summary

    data = lightgbm.Dataset(X, Y)
    params = {"objective": "binary", "verbose": -1, "metric": "auc"}
    with trackyard.start_run("training"):
        booster = lightgbm.train(params, data, 4, [data], callbacks=[TrackyardCallback()])
        log_summary(booster, log_model=True)
        lightgbm.cv(params, data, 3, callbacks=[TrackyardCallback()])

    run = view()
    assert len(points(run, "training-auc")) == 4
    assert len(points(run, "valid-auc-mean")) == 3
    assert "best_iteration" not in run.metrics  # nothing has stopped early
    assert run.all_params["objective"] == "binary"
    assert "feature_importance.json" in run.artifacts


def test_what_cannot_end_a_run_warns_once_outside_of_one(caplog, framework):
    lightgbm = framework("lightgbm")
    from trackyard_integrations.lightgbm import TrackyardCallback

    params = {"verbose": -1}
    lightgbm.train(params, lightgbm.Dataset(X, Y), 3, callbacks=[TrackyardCallback()])

    said = [record for record in caplog.records if "LightGBM" in record.getMessage()]
    assert len(said) == 1
    assert Client().list_runs() == []


def test_tracker_that_is_configured_wrongly_costs_one_warning_and_no_training(
    project, caplog, framework
):
    xgboost = framework("xgboost")
    from trackyard_integrations.xgboost import TrackyardCallback

    (project / "trackyard.toml").write_text('[stacks.default]\nexperiment_trackers = ["none"]\n')
    data = xgboost.DMatrix(X, Y)
    booster = xgboost.train(
        {}, data, 5, evals=[(data, "train")], callbacks=[TrackyardCallback()], verbose_eval=False
    )

    said = [record.getMessage() for record in caplog.records]
    scores = [text for text in said if "_log_scores logged nothing" in text]
    assert booster.num_boosted_rounds() == 5
    assert len(scores) == 1


def test_training_of_catboost_arrives_with_its_summary(framework):
    catboost = framework("catboost")
    from trackyard_integrations.catboost import TrackyardCallback, log_summary

    model = catboost.CatBoostClassifier(iterations=4, verbose=False, allow_writing_files=False)
    with trackyard.start_run("training"):
        model.fit(X, Y, eval_set=(X, Y), callbacks=[TrackyardCallback()])
        log_summary(model, log_model=True)

    run = view()
    assert len(points(run, "learn-Logloss")) == len(points(run, "validation-Logloss")) == 4
    assert run.all_params["iterations"] == 4
    assert "feature_importance.json" in run.artifacts


def test_search_of_sklearn_has_a_child_run_for_each_candidate():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    from trackyard_integrations.sklearn import log_report, tracked_fit

    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=2)
    with trackyard.start_run("training"):
        with tracked_fit(search):
            search.fit(X, Y)
        log_report(search, X, Y)

    run = view()
    assert [child.all_params["C"] for child in run.children] == [0.1, 1.0, 10.0]
    means = [child.metrics["mean_test_score"].last for child in run.children]
    assert means == list(search.cv_results_["mean_test_score"])
    assert run.metrics["best_score"].last == search.best_score_
    assert run.metrics["test_accuracy"].last == search.score(X, Y)


def test_estimator_of_sklearn_has_a_run_with_params_and_its_curve():
    from sklearn.neural_network import MLPClassifier

    from trackyard_integrations.sklearn import tracked_fit

    model = MLPClassifier(max_iter=300, tol=0.01, random_state=0)
    with tracked_fit(model, log_model=True):
        model.fit(X, Y)

    (row,) = Client().list_runs()
    run = view(row.id)
    assert run.status == "finished"
    assert run.all_params["max_iter"] == 300
    assert points(run, "loss_curve") == model.loss_curve_


def test_study_of_optuna_has_a_child_run_for_each_trial_and_pruned_is_killed(framework):
    optuna = framework("optuna")
    from trackyard_integrations.optuna import TrackyardCallback

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial):
        x = trial.suggest_float("x", -1, 1)
        trial.report(x, 0)
        trial.report(x / 2, 1)
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise ZeroDivisionError
        return x * x

    study = optuna.create_study()
    with trackyard.start_run("training"):
        study.optimize(
            objective, 6, n_jobs=2, catch=(ZeroDivisionError,), callbacks=[TrackyardCallback()]
        )

    run = view()
    statuses = {child.name: child.status for child in run.children}
    assert run.status == "finished"
    assert statuses == {f"trial-{n}": "finished" for n in range(6)} | {
        "trial-1": "killed",
        "trial-2": "failed",
    }
    assert all(len(points(child, "intermediate_value")) == 2 for child in run.children)
    assert run.steps[0].tags["optuna.best_trial"] == str(study.best_trial.number)


@pytest.mark.parametrize("names", [None, ["error", "seconds"]])
def test_trial_of_optuna_has_a_value_for_each_objective_and_its_attributes(names, framework):
    optuna = framework("optuna")
    from trackyard_integrations.optuna import TrackyardCallback

    def objective(trial):
        trial.set_user_attr("fold", 3)
        return trial.suggest_float("x", 0, 1), 2.0

    study = optuna.create_study(directions=["minimize", "maximize"])
    if names:
        with warnings.catch_warnings(
            action="ignore", category=optuna.exceptions.ExperimentalWarning
        ):
            study.set_metric_names(names)
    with trackyard.start_run("training"):
        study.optimize(objective, 1, callbacks=[TrackyardCallback()])

    (trial,) = view().children
    assert set(names or ["value_0", "value_1"]) <= set(trial.metrics)
    assert trial.steps[0].tags["fold"] == "3"


def test_trial_of_optuna_is_a_run_while_it_goes(framework):
    optuna = framework("optuna")
    from trackyard_integrations.optuna import tracked_trial

    @tracked_trial
    def objective(trial):
        trackyard.log_metric("inside", trial.suggest_float("x", -1, 1))
        if trial.number == 1:
            raise optuna.TrialPruned
        return 1.0

    with trackyard.start_run("training"):
        optuna.create_study().optimize(objective, 2)

    children = view().children
    assert {child.name: child.status for child in children} == {
        "trial-0": "finished",
        "trial-1": "killed",
    }
    assert all("inside" in child.metrics and "x" in child.all_params for child in children)


@pytest.mark.parametrize("above", [False, True])
def test_trials_of_optuna_that_go_at_once_are_below_no_other_trial(above, framework):
    optuna = framework("optuna")
    from trackyard_integrations.optuna import tracked_trial

    first_goes_on, second_is_over = threading.Event(), threading.Event()

    @tracked_trial
    def objective(trial):
        trackyard.log_metric("inside", trial.number)
        if trial.number == 0:
            first_goes_on.set()
            assert second_is_over.wait(timeout=60)
        return trial.suggest_float("x", -1, 1)

    study = optuna.create_study(study_name="study")
    with trackyard.start_run("training") if above else nullcontext():  # as `n_jobs=2` does
        first, second = (threading.Thread(target=lambda: objective(study.ask())) for _ in range(2))
        first.start()
        assert first_goes_on.wait(timeout=60)
        second.start()
        second.join()
        second_is_over.set()
        first.join()

    runs = list(view().children) if above else [view(row.id) for row in Client().list_runs()]
    assert sorted(run.name for run in runs) == ["trial-0", "trial-1"]
    for run in runs:
        assert run.metrics["inside"].last == int(run.name[-1])
        assert list(run.children) == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
def test_several_fits_of_keras_count_on(tmp_path, framework):
    keras = framework("keras")
    from trackyard_integrations.keras import TrackyardCallback

    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)
    callback = TrackyardCallback(best)
    with trackyard.start_run("training"):
        for _ in range(2):
            model.fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y), callbacks=[best, callback])

    run = view()
    assert list(run.curves["val_loss"].steps) == [0, 1, 2, 3]
    assert run.all_params["optimizer_name"] == "sgd"
    assert "checkpoints/best.keras" in run.artifacts


@pytest.mark.parametrize("sweep", [False, True])
def test_jobs_of_hydra_are_runs_with_overrides_as_tags(tmp_path, sweep, framework):
    framework("hydra")
    (tmp_path / "config.yaml").write_text(
        "optimizer: {lr: 0.1}\nhydra: {callbacks: {trackyard: {_target_: "
        "trackyard_integrations.hydra.TrackyardCallback}}}\n"
    )
    (tmp_path / "program.py").write_text(
        "import hydra, trackyard\n"
        "@hydra.main(version_base=None, config_path='.', config_name='config')\n"
        "def main(config):\n"
        "    trackyard.log_metric('loss', 1 / config.optimizer.lr)\n"
        "main()\n"
    )
    more = ["--multirun", "optimizer.lr=0.5,0.25"] if sweep else ["optimizer.lr=0.5"]
    command = [sys.executable, "program.py", *more]
    subprocess.run(command, check=True, capture_output=True, timeout=120)

    (top,) = [view(row.id) for row in Client().list_runs()]
    found = list(top.children) if sweep else [top]
    losses = {run.all_params["optimizer.lr"]: run.metrics["loss"].last for run in found}
    assert losses == ({0.5: 2.0, 0.25: 4.0} if sweep else {0.5: 2.0})
    assert all("optimizer.lr=" in run.steps[0].tags["hydra.overrides"] for run in found)
    assert {run.status for run in [top, *found]} == {"finished"}


def test_every_framework_that_init_names_has_a_module_and_an_extra():
    from importlib.metadata import entry_points, metadata

    named = entry_points(group="trackyard.frameworks")
    modules = {path.stem for path in Path(trackyard_integrations.__file__).parent.glob("*.py")}

    modules -= {"__init__", "checkpoints", "estimators", "joining", "lines", "trees", "trial_runs"}
    modules -= {"lightning_package", "pictures", "trials", "workers"}
    assert {one.name.replace("-", "_") for one in named} == modules
    assert {one.name for one in named} == set(
        metadata("trackyard-integrations").get_all("Provides-Extra")
    )
    for one in named:
        assert f"trackyard_integrations.{one.name.replace('-', '_')}" in one.load()


@pytest.mark.parametrize("name", [name for name in vars(lines) if name.isupper()])
def test_module_of_a_framework_is_small(name):
    module = Path(trackyard_integrations.__file__).with_name(f"{name.lower()}.py")

    assert 15 <= len(module.read_text(encoding="utf-8").splitlines()) <= 80


def test_logger_takes_a_list_of_images_by_the_call_of_others():
    class Logger(LogsImages):
        experiment = property(lambda self: trackyard.current_run())

    seen = [numpy.zeros((2, 2, 3), numpy.uint8), numpy.full((2, 2, 3), 255, numpy.uint8)]
    with trackyard.start_run("training"):
        Logger().log_image("seen", seen, step=3, caption=["dark", "bright"])
        Logger().log_image("broken", [object()])

    run = view()
    assert {"seen/0.png", "seen/1.png"} <= set(run.artifacts)
    assert run.status == "finished"
