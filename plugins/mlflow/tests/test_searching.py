"""Do filters in MLflow's language find here what they find in MLflow?"""

from __future__ import annotations

import shutil
import time

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from trackyard import Client, start_run

RUNS = {
    "alpha": (
        {"accuracy": 0.75, "loss": 0.1, "f1 score": 0.6},
        {"batch_size": "2", "model": "GPT-3", "model type": "large"},
        {"environment": "notebook", "task": "classification"},
    ),
    "beta": (
        {"accuracy": 0.7, "loss": 0.2},
        {"batch_size": "32", "model": "gpt-4"},
        {"environment": "Production", "mlflow.custom": "x"},
    ),
    "gamma": (
        {"accuracy": 0.9, "val/loss": 0.3},
        {"batch_size": "2", "model": "Llama 2"},
        {"environment": "production-eu"},
    ),
    "delta": ({}, {"learning_rate": "0.01"}, {}),
}
# As the documentation of MLflow has them, and their kinds.
FILTERS = (
    "metrics.accuracy > 0.72",
    "metrics.accuracy > 0.72 AND metrics.loss <= 0.15",
    "metrics.accuracy >= 0.7 and metrics.accuracy != 0.75",
    "metrics.accuracy = 0.9",
    "metric.loss < 0.15",
    "metrics.`f1 score` > 0.5",
    'metrics."f1 score" > 0.5',
    "metrics.`val/loss` > 0.1",
    "params.batch_size = '2'",
    'params.batch_size = "2"',
    "params.batch_size != '2'",
    "params.model LIKE 'GPT%'",
    "params.model ILIKE 'gpt%'",
    "params.model ILIKE '%llama%'",
    "params.model LIKE 'gpt-_'",
    "params.`model type` = 'large'",
    "param.batch_size = '2' AND metrics.accuracy > 0.8",
    "parameters.learning_rate = '0.01'",
    "tags.environment = 'notebook'",
    "tags.environment ILIKE '%production%'",
    "tags.environment LIKE '%production%'",
    "tags.environment != 'notebook'",
    "tags.mlflow.custom = 'x'",
    "tags.environment IS NULL",
    "tags.environment IS NOT NULL",
    "params.model IS NULL",
    "attributes.status = 'FINISHED'",
    "attributes.status != 'FAILED'",
    "status = 'RUNNING'",
    "attributes.run_name = 'alpha'",
    "run_name LIKE '%ta'",
    "`run name` ILIKE 'ALPH%'",
    "attributes.start_time > 1664067852747",
    "created < 1664067852747",
    "attributes.end_time > 0",
    "tags.task = 'classification' AND params.model LIKE 'GPT%' AND metrics.loss < 0.2",
    "",
)
ORDERS = ("metrics.accuracy DESC", "metrics.accuracy ASC", "params.batch_size", "run_name")


@pytest.fixture(scope="module")
def there(tmp_path_factory, empty_store):
    """Give a client of MLflow that has the runs, and their experiment's id."""
    store = tmp_path_factory.mktemp("mlflow") / "runs.db"
    shutil.copyfile(empty_store, store)
    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.create_experiment("search")
    for name, (metrics, params, tags) in RUNS.items():
        run = client.create_run(experiment, run_name=name)
        now = int(time.time() * 1000)
        client.log_batch(
            run.info.run_id,
            [Metric(key, value, now, 0) for key, value in metrics.items()],
            [Param(key, value) for key, value in params.items()],
            [RunTag(key, value) for key, value in tags.items()],
        )
        client.set_terminated(run.info.run_id, "FAILED" if name == "delta" else "FINISHED")
    return client, experiment


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Give a client of a project that has the same runs."""
    (tmp_path / "trackyard.toml").write_text("[stacks.default]\n")
    monkeypatch.chdir(tmp_path)
    for name, (metrics, params, tags) in RUNS.items():
        with start_run(name, experiment="search", experiment_tracker=None, tags=tags) as run:
            run.log_params(params)
            run.log_metrics(metrics)
            if name == "delta":
                run.set_status("failed")
    return Client()


def test_filters_of_mlflow_find_what_mlflow_finds(here, there):
    client, experiment = there
    expected = {
        text: {run.info.run_name for run in client.search_runs([experiment], text)}
        for text in FILTERS
    }

    found = {text: {run.name for run in here.search_runs(text)} for text in FILTERS}
    assert found == expected


def test_run_ids_are_among_others(here, there):
    client, experiment = there
    of = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
    own = {run.name: run.id for run in here.search_runs()}
    for sign in ("IN", "NOT IN"):
        found = [
            {run.info.run_name if side is of else run.name for run in runs}
            for side, search in ((of, client.search_runs), (own, here.search_runs))
            for ids in [f"('{side['alpha']}', '{side['delta']}')"]
            for text in [f"attributes.run_id {sign} {ids}"]
            for runs in [search([experiment], text) if side is of else search(text)]
        ]
        assert found[0] == found[1]


@pytest.mark.parametrize("order", ORDERS)
def test_orders_of_mlflow_sort_as_mlflow_sorts(here, there, order):
    client, experiment = there
    expected = [run.info.run_name for run in client.search_runs([experiment], "", order_by=[order])]

    assert [run.name for run in here.search_runs(order_by=[order])] == expected
