"""Do MLflow's own calls in a step land in its run, and nowhere else?"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import mlflow
import numpy
import pytest
from mlflow import set_tracking_uri
from sklearn.linear_model import LinearRegression

from trackyard import log_metric, native_run, pipeline, start_run, step

ROWS = numpy.arange(20.0).reshape(10, 2)


@pytest.fixture(autouse=True)
def _patient(mlflow_project):
    """Give programs that import MLflow themselves the time that a busy machine takes for it."""
    budgets = "start_timeout = 60\nflush_timeout = 60\n"
    mlflow_project.configure(f'[experiment_trackers.local]\nflavor = "mlflow"\n{budgets}')


def test_native_calls_land_in_the_same_run(mlflow_project):
    @step(experiment_tracker=True)
    def train() -> str:
        log_metric("portable", 1)
        mlflow.log_metric("native", 2, step=5)
        mlflow.log_metrics({"a": 1, "b": 2})
        mlflow.log_param("rate", 0.1)
        mlflow.log_params({"depth": 3})
        mlflow.set_tag("team", "fraud")
        mlflow.log_dict({"a": 1}, "deep/config.json")
        return mlflow.active_run().info.run_id  # which the first call has made active

    @pipeline
    def mixed():
        train()

    run = mixed()

    found = mlflow_project.run("train")
    assert run.steps["train"].outputs["output"].load() == found.info.run_id
    assert found.data.metrics == {"portable": 1, "native": 2, "a": 1, "b": 2}
    assert found.data.params == {"rate": "0.1", "depth": "3"}
    assert found.data.tags["team"] == "fraud"
    assert b'"a": 1' in mlflow_project.artifact(found, "deep/config.json")
    assert mlflow_project.statuses() == {run.name: "FINISHED", "train": "FINISHED"}


def test_code_that_starts_its_own_run_gets_the_steps_run_with_its_name(mlflow_project):
    @step(experiment_tracker=True)
    def train() -> None:
        assert mlflow.active_run() is None  # as where a script begins
        with mlflow.start_run(run_name="mine", tags={"team": "fraud"}, description="first try"):
            assert mlflow.active_run().info.run_name == "mine"
            mlflow.log_metric("inside", 1)
            with mlflow.start_run(nested=True, run_name="child"):
                mlflow.log_metric("nested", 3)
        assert mlflow.active_run() is None
        last = mlflow.last_active_run()
        assert (last.info.status, last.data.metrics) == ("FINISHED", {"inside": 1})

    @pipeline
    def unchanged():
        train()

    run = unchanged()

    found = mlflow_project.run("mine")
    assert found.data.metrics == {"inside": 1}
    assert found.data.tags["team"] == "fraud"
    assert found.data.tags["mlflow.note.content"] == "first try"
    assert found.data.tags["mlflow.user"]
    assert found.data.tags["trackyard.step"] == "train"
    child = mlflow_project.run("child")
    assert child.data.metrics == {"nested": 3}
    assert child.data.tags["mlflow.parentRunId"] == found.info.run_id
    names = {run.name, "mine", "child"}
    assert mlflow_project.statuses() == dict.fromkeys(names, "FINISHED")
    assert mlflow.start_run is mlflow.tracking.fluent.start_run
    assert mlflow.start_run.__module__ == "mlflow.tracking.fluent"


def test_each_run_of_a_loop_is_a_run_of_its_own(mlflow_project):
    with start_run("loop"):
        for rate in range(3):
            with mlflow.start_run(run_name=f"rate={rate}"):
                mlflow.log_param("rate", rate)
                mlflow.log_metric("loss", 1 / (1 + rate))

    first = mlflow_project.run("rate=0")
    assert first.data.tags["trackyard.run_id"]
    for rate in range(3):
        found = mlflow_project.run(f"rate={rate}")
        assert found.data.params == {"rate": str(rate)}
        assert found.data.metrics == {"loss": 1 / (1 + rate)}
        parent = found.data.tags.get("mlflow.parentRunId")
        assert parent == (first.info.run_id if rate else None)
        assert found.info.experiment_id == first.info.experiment_id
    assert set(mlflow_project.statuses().values()) == {"FINISHED"}
    assert len(mlflow_project.runs()) == 3


def test_a_call_without_a_run_after_the_first_one_makes_a_run_as_mlflow_alone_does(mlflow_project):
    with start_run("implicit"):
        mlflow.log_metric("first", 1)
        mlflow.end_run()
        mlflow.log_metric("second", 2)

    metrics = sorted(tuple(run.data.metrics.items()) for run in mlflow_project.runs())
    assert metrics == [(("first", 1),), (("second", 2),)]
    assert set(mlflow_project.statuses().values()) == {"FINISHED"}


@pytest.mark.parametrize("status", ["KILLED", "FAILED", "FINISHED"])
def test_a_status_that_the_code_gives_counts(mlflow_project, status):
    with start_run("ended"):
        mlflow.start_run()
        mlflow.end_run(status)

    assert mlflow_project.statuses() == {"ended": status}


def test_deleting_the_second_run_deletes_that_one(mlflow_project):
    with start_run("first"):
        with mlflow.start_run():
            mlflow.log_metric("kept", 1)
        with mlflow.start_run(run_name="second") as second:
            pass
        mlflow.delete_run(second.info.run_id)

    assert mlflow_project.statuses() == {"first": "FINISHED"}
    assert mlflow_project.run("first").data.metrics == {"kept": 1}


def test_calls_in_threads_of_the_step_land_in_its_run(mlflow_project):
    with start_run("threads"), ThreadPoolExecutor(2) as pool:
        mlflow.log_metric("here", 1)
        list(pool.map(lambda n: mlflow.log_metric("there", n, step=n), range(4)))

    found = mlflow_project.run("threads")
    history = mlflow_project.client().get_metric_history(found.info.run_id, "there")
    assert sorted(point.value for point in history) == [0, 1, 2, 3]
    assert mlflow_project.statuses() == {"threads": "FINISHED"}


def test_an_error_inside_such_a_run_is_the_steps_own(mlflow_project):
    @step(experiment_tracker=True)
    def train() -> None:
        with mlflow.start_run():
            raise ValueError("bad rows")

    @pipeline
    def failing():
        train()

    with pytest.raises(ValueError, match="bad rows"):
        failing()
    assert mlflow_project.run("train").info.status == "FAILED"


def test_another_run_can_be_continued_in_a_step(mlflow_project):
    client = mlflow_project.client()
    other = client.create_run("0", run_name="other").info.run_id

    with start_run("step"):
        with mlflow.start_run(run_id=other):
            mlflow.log_metric("theirs", 1)
        mlflow.log_metric("own", 2)

    assert client.get_run(other).data.metrics == {"theirs": 1}
    assert mlflow_project.run("step").data.metrics == {"own": 2}


def test_native_run_is_mlflows_own_object(mlflow_project):
    with start_run("own") as run:
        own = native_run("local")
        assert isinstance(own, mlflow.ActiveRun)
        mlflow.log_metric("a", 1)
        assert own.info.run_id == mlflow.active_run().info.run_id
        assert own.info.run_id in run.url


def test_autologging_lands_in_the_run_and_does_not_spill_into_the_next_step(mlflow_project):
    @step(experiment_tracker=True)
    def logged() -> float:
        mlflow.autolog(log_models=False, silent=True)
        return float(LinearRegression().fit(ROWS, ROWS[:, 0]).intercept_)

    @step(experiment_tracker=True)
    def plain(number: float) -> float:
        return float(LinearRegression().fit(ROWS, ROWS[:, 0]).intercept_)

    @pipeline
    def fits():
        plain(logged())

    run = fits()
    LinearRegression().fit(ROWS, ROWS[:, 0])  # and outside any run neither

    found = mlflow_project.run("logged")
    assert found.data.params["fit_intercept"] == "True"
    assert "training_score" in found.data.metrics
    assert mlflow_project.run("plain").data.params == {}
    assert mlflow_project.statuses().keys() == {run.name, "logged", "plain"}


def test_autologging_of_overlapping_runs_does_not_outlive_them(mlflow_project):
    """The one that ends last has found autologging switched on by the other one."""
    together = Barrier(2)

    def first():
        with start_run("first"):
            mlflow.sklearn.autolog(log_models=False, silent=True)
            together.wait(30)
            together.wait(30)

    def second():
        together.wait(30)
        with start_run("second"):
            together.wait(30)
            done.result(30)
            LinearRegression().fit(ROWS, ROWS[:, 0])

    with ThreadPoolExecutor(2) as pool:
        done = pool.submit(first)
        pool.submit(second).result(60)
    with start_run("third"):
        LinearRegression().fit(ROWS, ROWS[:, 0])

    assert mlflow_project.run("third").data.params == {}
    assert mlflow_project.statuses().keys() == {"first", "second", "third"}


@pytest.mark.slow
def test_autologging_of_a_library_that_is_imported_later_does_not_spill(mlflow_project):
    """`mlflow.autolog()` waits for imports, which may come steps later."""
    code = """
import mlflow, sys
from trackyard import start_run

with start_run("first"):
    mlflow.autolog(log_models=False, silent=True)
    assert "sklearn" not in sys.modules
with start_run("second"):
    from sklearn.linear_model import LinearRegression
    LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
with start_run("third"):
    mlflow.autolog(log_models=False, silent=True)
    LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

    assert mlflow_project.run("second").data.params == {}
    assert mlflow_project.run("third").data.params["fit_intercept"] == "True"
    assert len(mlflow_project.runs()) == 3


@pytest.mark.slow
def test_the_users_own_autologging_stays_on(mlflow_project):
    switched = mlflow.utils.autologging_utils.AUTOLOGGING_INTEGRATIONS
    before = dict(switched)  # other tests may have imported more of what has estimators
    mlflow.sklearn.autolog(log_models=False, silent=True)
    try:
        with start_run("with"):
            LinearRegression().fit(ROWS, ROWS[:, 0])
        with start_run("again"):
            LinearRegression().fit(ROWS, ROWS[:, 0])
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)
        switched.clear()
        switched.update(before)

    for name in ("with", "again"):
        assert mlflow_project.run(name).data.params["fit_intercept"] == "True"


def test_nested_native_runs_stand_below_the_run_in_its_experiment(mlflow_project):
    with start_run("outer", experiment="search"):
        for index in range(2):
            with mlflow.start_run(run_name=f"inner {index}", nested=True):
                mlflow.log_metric("score", index)
        mlflow.log_metric("best", 1)

    outer = mlflow_project.run("outer")
    assert outer.data.metrics == {"best": 1}
    assert outer.info.status == "FINISHED"
    for index in range(2):
        inner = mlflow_project.run(f"inner {index}")
        assert inner.info.experiment_id == outer.info.experiment_id
        assert inner.data.tags["mlflow.parentRunId"] == outer.info.run_id
        assert inner.data.metrics == {"score": index}


def test_a_nested_run_that_is_left_open_does_not_outlive_the_step(mlflow_project):
    with start_run("outer"):
        mlflow.start_run(run_name="left open", nested=True)
    with start_run("next"):
        mlflow.log_metric("a", 1)

    assert mlflow.active_run() is None
    assert mlflow_project.run("next").data.metrics == {"a": 1}
    assert mlflow_project.run("outer").info.status == "FINISHED"


def test_ending_the_run_natively_ends_nothing_else(mlflow_project):
    with start_run("ended") as run:
        mlflow.end_run()
        run.log_metric("after", 1)

    found = mlflow_project.run("ended")
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"after": 1}


def test_the_users_own_run_around_a_block_comes_back(mlflow_project, monkeypatch):
    own = mlflow_project.new_store(mlflow_project.root / "own.db")
    mlflow.set_tracking_uri(own)
    try:
        with mlflow.start_run(run_name="own") as outer:
            mlflow.log_metric("before", 1)
            with start_run("inside"):
                mlflow.log_metric("inside", 2)
            assert mlflow.active_run().info.run_id == outer.info.run_id
            mlflow.log_metric("after", 3)
    finally:
        mlflow.set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)

    assert mlflow_project.run("own", own).data.metrics == {"before": 1, "after": 3}
    assert mlflow_project.run("inside").data.metrics == {"inside": 2}


@pytest.mark.slow
def test_a_child_process_of_a_step_finds_the_store(mlflow_project):
    code = "import mlflow; print(mlflow.get_tracking_uri())"

    with start_run("parent"):
        told = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)

    assert told.strip() == mlflow_project.store


@pytest.mark.parametrize("own", [None, "sqlite:///own.db"])
def test_the_tracking_uri_is_given_back(mlflow_project, monkeypatch, own):
    if own:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", own)
    before = mlflow.get_tracking_uri()

    with start_run("inside"):
        assert mlflow.get_tracking_uri() == mlflow_project.store

    assert mlflow.get_tracking_uri() == before
    assert os.environ.get("MLFLOW_TRACKING_URI") == own


def run_lazily(code):
    """Run code in a process where nothing has imported MLflow: a worker process does that."""
    env = {**os.environ, "TRACKYARD_ISOLATION": "process"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=120)


def test_a_step_that_imports_mlflow_itself_finds_its_run(mlflow_project):
    run_lazily("""
import importlib.util, sys
from trackyard import start_run

with start_run("without"):
    assert "mlflow" not in sys.modules
with start_run("lazy") as run:
    assert importlib.util.find_spec("mlflow")  # libraries look so whether it is installed
    assert "mlflow" not in sys.modules
    import mlflow
    mlflow.log_metric("first", 1)
    assert mlflow.active_run().info.run_id in run.url
    run.log_metric("portable", 2)
with start_run("next") as run:
    mlflow.log_metric("next", 3)
assert mlflow.active_run() is None
""")

    assert set(mlflow_project.statuses().items()) == {
        ("without", "FINISHED"),
        ("lazy", "FINISHED"),
        ("next", "FINISHED"),
    }
    assert mlflow_project.run("lazy").data.metrics == {"first": 1, "portable": 2}
    assert mlflow_project.run("next").data.metrics == {"next": 3}


@pytest.mark.slow
def test_autologging_and_nested_runs_of_a_step_that_imports_mlflow_itself(mlflow_project):
    run_lazily("""
from trackyard import start_run

with start_run("lazy", experiment="lazy") as run:
    import mlflow
    with mlflow.start_run(run_name="nested", nested=True):
        mlflow.log_metric("inner", 1)
    mlflow.sklearn.autolog(log_models=False, silent=True)
    from sklearn.linear_model import LinearRegression
    LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
with start_run("next") as run:
    LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
""")

    assert mlflow_project.statuses().keys() == {"lazy", "nested", "next"}
    lazy, nested = mlflow_project.run("lazy"), mlflow_project.run("nested")
    assert lazy.data.params["fit_intercept"] == "True"
    assert nested.data.metrics == {"inner": 1}
    assert nested.data.tags["mlflow.parentRunId"] == lazy.info.run_id
    assert nested.info.experiment_id == lazy.info.experiment_id
    assert mlflow_project.run("next").data.params == {}


@pytest.mark.slow
def test_overlapping_runs_find_themselves_whichever_imports_mlflow(mlflow_project):
    run_lazily("""
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from trackyard import start_run

together = Barrier(2)

def work(name, imports_first):
    with start_run(name):
        together.wait(60)
        if imports_first:
            import mlflow
            together.wait(60)
        else:
            together.wait(60)
            import mlflow
        mlflow.log_metric(name, 1)
        together.wait(60)
    assert mlflow.active_run() is None

with ThreadPoolExecutor(2) as pool:
    for done in [pool.submit(work, "first", True), pool.submit(work, "second", False)]:
        done.result(100)
""")

    assert mlflow_project.statuses() == {"first": "FINISHED", "second": "FINISHED"}
    for name in ("first", "second"):
        assert mlflow_project.run(name).data.metrics == {name: 1}


def test_another_place_that_the_code_names_is_said_once_and_the_run_stays(mlflow_project, caplog):
    with start_run("stays"):
        for _ in range(2):
            set_tracking_uri("sqlite:///other.db")  # a name from before the block
        given = mlflow.set_experiment("mine")
        with mlflow.start_run():
            mlflow.log_metric("loss", 1)
        with mlflow.start_run(run_name="second"):
            mlflow.log_metric("loss", 2)
        found = mlflow.get_experiment_by_name("mine")
        runs = mlflow.search_runs(experiment_names=["mine"], output_format="list")

    assert mlflow_project.run("stays").data.metrics == {"loss": 1}
    assert mlflow_project.run("second").info.experiment_id == given.experiment_id
    assert found.experiment_id == given.experiment_id
    assert {"stays", "second"} <= {run.info.run_name for run in runs}
    assert not (mlflow_project.root / "other.db").exists()
    said = [r.getMessage() for r in caplog.records if "names another place" in r.getMessage()]
    assert ["tracking_uri" in said[0], "experiment_name = 'mine'" in said[1]] == [True, True]
    assert len(said) == 2


def test_runs_that_a_client_makes_elsewhere_are_told_at_the_end(mlflow_project, caplog):
    other = mlflow_project.new_store(mlflow_project.root / "other.db")
    with start_run("told"):
        client = mlflow.MlflowClient(other)
        made = client.create_run("0", run_name="astray")
        client.log_metric(made.info.run_id, "loss", 1)
        mlflow.log_metric("own", 2)

    assert mlflow_project.run("astray", other).data.metrics == {"loss": 1}
    assert mlflow_project.run("told").data.metrics == {"own": 2}
    (said,) = [r.getMessage() for r in caplog.records if "have made runs in" in r.getMessage()]
    assert f"give the tracker tracking_uri = {other!r}" in said


def test_a_store_that_another_process_makes_where_the_step_runs_is_told(mlflow_project, caplog):
    with start_run("told"):
        mlflow.log_metric("own", 2)
        mlflow_project.new_store(mlflow_project.root / "mlflow.db")

    assert caplog.text.count("have made runs in sqlite:///") == 1


def test_a_search_in_a_step_passes_over_the_pipelines_run_and_its_pages_are_full(mlflow_project):
    found = []

    @step(experiment_tracker=True)
    def train() -> None:
        for name in ("one", "two"):
            with mlflow.start_run(run_name=name):
                mlflow.log_metric("loss", 1.0)
        ordered = {"order_by": ["attributes.start_time ASC"], "output_format": "list"}
        for most in (1, 10):
            runs = mlflow.search_runs(max_results=most, **ordered)
            found.append([run.info.run_name for run in runs])

    @pipeline
    def searching():
        train()

    searching()

    assert found == [["one"], ["one", "two"]]
