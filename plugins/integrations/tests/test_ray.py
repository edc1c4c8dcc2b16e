"""Do a search of Ray Tune and a training of Ray Train become runs, also where they are resumed?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trackyard import Client

PROGRAM = """
import os, signal, sys, tempfile, time
from pathlib import Path
import ray, trackyard
from ray import train, tune
from trackyard_integrations import ray_train, ray_tune
from trackyard_integrations.workers import worker_environment

RESULTS = os.path.abspath("results")

def reported(report, checkpoint, written, **numbers):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "epoch").write_text(str(written))
        report({**numbers, "word": "none"}, checkpoint=checkpoint.from_directory(folder))

def first_epoch(saved):
    if not saved:
        return 0
    with saved.as_directory() as folder:
        return int(Path(folder, "epoch").read_text()) + 1

def trial(config):
    begin = first_epoch(tune.get_checkpoint())
    for epoch in range(begin, 4):
        fails = not Path(RESULTS, "mended").exists() and (not begin or config.get("always", True))
        if config["opt"]["rate"] == 2 and epoch == 1 and fails:
            raise ValueError("broken")
        time.sleep(config.get("pause", 0))
        reported(tune.report, tune.Checkpoint, epoch, loss=config["opt"]["rate"] / (epoch + 1))

class Killed(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        killed = Path(RESULTS, "killed")  # a search that is restored has its callbacks again
        if result["training_iteration"] == 3 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

def search(rates, *more, failures=0, **config):
    space = {"opt": {"rate": tune.grid_search(rates)}, **config}
    callbacks = [ray_tune.TrackyardCallback(log_checkpoints=True), *more]
    about = tune.RunConfig("found", storage_path=RESULTS, callbacks=callbacks, verbose=0,
        failure_config=tune.FailureConfig(max_failures=failures))
    tune.Tuner(trial, param_space=space, run_config=about).fit()

def epochs(config):
    trackyard.log_metric("inside", train.get_context().get_world_rank())
    begin = first_epoch(train.get_checkpoint())
    for epoch in range(begin, 3):
        if epoch == 1 and config["ending"] == "killed":
            while "loss" not in trackyard.Client().get_run("training").metrics:
                time.sleep(0.1)  # Ray hears of a report some time after it
            os.kill(config["driver"], signal.SIGKILL)
            time.sleep(60)
        fails = config["ending"] == "failed" or (config["ending"] == "once" and not begin)
        if epoch == 1 and fails:
            raise ValueError("broken")
        reported(train.report, train.Checkpoint, epoch, loss=1 / (epoch + 1), epoch=epoch + 10)

def training(ending=None, step=None, failures=0):
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    callback = ray_train.TrackyardCallback(log_checkpoints=True, step=step)
    about = train.RunConfig("trained", storage_path=RESULTS, callbacks=[callback],
        failure_config=train.FailureConfig(max_failures=failures),
        worker_runtime_env={"env_vars": worker_environment()})
    DataParallelTrainer(epochs, train_loop_config={"ending": ending, "driver": os.getpid()},
        scaling_config=train.ScalingConfig(num_workers=1), run_config=about).fit()

ray.init(address=os.environ["ADDRESS"], log_to_driver=False)
"""


@pytest.fixture
def run(project, address):
    """Give a function that runs a program on the cluster, and gives its exit code."""

    def run(code):
        variables = {"ADDRESS": address, "RAY_TRAIN_V2_ENABLED": "1", "RAY_AIR_NEW_OUTPUT": "0"}
        # How often a search writes down where it stands, in seconds.
        variables |= {"TUNE_GLOBAL_CHECKPOINT_S": "0"}
        command = [sys.executable, "-c", PROGRAM + code]
        return subprocess.run(
            command, check=False, timeout=400, env=os.environ | variables
        ).returncode

    return run


def checkpoints(run):
    return [name for name in run.artifacts if name.startswith("checkpoints/")]


@pytest.mark.long(reason="a second search on a cluster; the page's is slow")
def test_trials_of_a_search_are_child_runs_with_their_checkpoints(run):
    code = "with trackyard.start_run('search', 'rates'):\n    search([1.0, 2.0, 3.0])"
    assert run(code) == 0

    search = Client().get_run("search")
    children = {child.all_params["opt.rate"]: child for child in search.children}
    statuses = {rate: child.status for rate, child in children.items()}
    assert search.status == "finished"
    assert statuses == {1.0: "finished", 2.0: "failed", 3.0: "finished"}
    assert list(children[3.0].curves["loss"].steps) == [1, 2, 3, 4]
    assert list(children[3.0].curves["loss"].values) == [3.0, 1.5, 1.0, 0.75]
    assert "word" not in children[3.0].metrics
    assert len(checkpoints(children[3.0])) == 4
    assert len(checkpoints(children[2.0])) == 1


@pytest.mark.slow
def test_training_arrives_with_its_reports_and_what_workers_log_themselves(run):
    assert run("with trackyard.start_run('training'):\n    training(step='epoch')") == 0

    training = Client().get_run("training")
    assert training.status == "finished"
    assert list(training.curves["loss"].steps) == [10, 11, 12]
    assert list(training.curves["loss"].values) == [1.0, 1 / 2, 1 / 3]
    assert training.metrics["inside"].last == 0
    assert len(checkpoints(training)) == 3


@pytest.mark.long(reason="a worker of Ray Train that is started twice")
def test_training_whose_worker_is_tried_again_counts_on_and_says_what_was_raised(run):
    code = "with trackyard.start_run('training'):\n    training('once', failures=1)"
    assert run(code) == 0

    training = Client().get_run("training")
    assert training.status == "finished"
    assert list(training.curves["loss"].steps) == [0, 1, 2]
    assert "rank 0" in training.steps[0].tags["ray.exception"]
    assert "broken" in training.steps[0].tags["ray.exception"]


@pytest.mark.long(reason="two drivers of Ray Train, of which one is killed")
@pytest.mark.parametrize(
    ("ending", "code", "status"), [("failed", 1, "failed"), ("killed", -9, "crashed")]
)
def test_training_that_ends_badly_has_kept_its_reports_and_goes_on_in_its_run(
    run, ending, code, status
):
    assert run(f"with trackyard.start_run('training'):\n    training({ending!r})") == code
    before = Client().get_run("training")
    assert (before.status, list(before.curves["loss"].steps)) == (status, [0])
    assert run("with trackyard.resume_run('training'):\n    training()") == 0

    (row,) = Client().list_runs()
    curve = Client().get_run(row.id).curves["loss"]
    assert (row.id, row.status) == (before.id, "finished")
    assert [*zip(curve.steps, curve.values, strict=True)] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


@pytest.mark.long(reason="a trial of Ray Tune that is started twice")
def test_trial_that_is_tried_again_is_one_run_that_finishes(run):
    code = "with trackyard.start_run('search'):\n    search([2.0], failures=1, always=False)"
    assert run(code) == 0

    (trial,) = Client().get_run("search").children
    assert (trial.status, list(trial.curves["loss"].steps)) == ("finished", [1, 2, 3, 4])


@pytest.mark.long(reason="two drivers of Ray Tune")
def test_trial_that_has_failed_goes_on_in_its_run_when_the_search_is_restored(run):
    assert run("search([1.0, 2.0])") == 0
    (row,) = Client().list_runs()
    before = {child.id: child.status for child in Client().get_run(row.id).children}
    Path("results/mended").touch()
    code = "tune.Tuner.restore(RESULTS + '/found', trial, resume_errored=True).fit()"
    assert run(code) == 0

    (row,) = Client().list_runs()
    after = Client().get_run(row.id).children
    assert sorted(before.values()) == ["failed", "finished"]
    assert {child.id: child.status for child in after} == dict.fromkeys(before, "finished")
    assert [list(child.curves["loss"].steps) for child in after] == [[1, 2, 3, 4]] * 2


@pytest.mark.long(reason="two drivers of Ray, of which one is killed")
def test_search_that_is_killed_and_restored_goes_on_in_the_same_runs(run):
    assert run("search([1.0, 3.0], Killed(), pause=1)") == -9
    before = {row.id for row in Client().list_runs()}
    assert run("tune.Tuner.restore(RESULTS + '/found', trial).fit()") == 0

    (row,) = Client().list_runs()
    search = Client().get_run(row.id)
    assert {row.id} == before
    assert [child.status for child in search.children] == ["finished", "finished"]
    for child in search.children:
        assert sorted({*child.curves["loss"].steps}) == [1, 2, 3, 4]


@pytest.mark.slow
def test_search_of_the_page_arrives_as_it_says(shown, address):
    shown("ray", sys.executable, RAY_ADDRESS=address, RAY_AIR_NEW_OUTPUT="0")


@pytest.mark.long(reason="a second training on a cluster of Ray's")
def test_training_of_the_page_arrives_by_its_steps(project, address):
    text = (Path(__file__).parents[3] / "docs/frameworks/ray.md").read_text(encoding="utf-8")
    program = re.search(r"^# train_workers.py\n.*?(?=^```$)", text, re.MULTILINE | re.DOTALL)[0]
    variables = {"RAY_ADDRESS": address, "RAY_TRAIN_V2_ENABLED": "1"}
    (project / "train_workers.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "train_workers.py"]
    subprocess.run(command, check=True, timeout=400, cwd=project, env=os.environ | variables)

    (row,) = Client().list_runs()
    curve = Client().get_run(row.id).curves["loss"]
    assert (row.name, row.status) == ("training", "finished")
    assert [*zip(curve.steps, curve.values, strict=True)] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
