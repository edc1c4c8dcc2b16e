"""Does a team's second machine have the runs of the first one, whose folder is gone?

Two folders stand for the machines; a real PostgreSQL and a real MLflow server are what both reach.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import postgresql
import pytest
from mlflow import MlflowClient
from mlflow_servers import MlflowServer

from trackyard import Client, current_run, log_metric, log_params, pipeline, step


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql.database(tmp_path_factory) as url:
        yield url


@step(experiment_tracker="team")
def fit(rate: float) -> None:
    log_params({"rate": rate})
    for index in range(50):
        log_metric("loss", 1 / (index + 1), step=index)
    current_run().log_text("all is well", "notes.txt")
    print("printed in the step")


@pipeline
def training(rate: float = 0.1) -> None:
    fit(rate)


@pytest.fixture
def machines(
    tmp_path: Path,
    database: str,
    mlflow_server: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Make two machines of one team, and go to the first."""
    for name, value in (("WATCHDOG", "0"), ("CONTEXT", "0"), ("ISOLATION", "thread")):
        monkeypatch.setenv(f"TRACKYARD_{name}", value)
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "system-metrics")
    text = f'store = "{database}"\n[experiment_trackers.team]\nflavor = "mlflow"\n'
    text += f'tracking_uri = "{mlflow_server.url}"\nstart_timeout = 60\nflush_timeout = 60\n'
    text += '[experiment_trackers.files]\nflavor = "tensorboard"\n'
    text += '[stacks.default]\nexperiment_trackers = ["team"]\n'
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trackyard.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "one")
    return tmp_path


@pytest.mark.slow
def test_the_second_machine_has_the_runs_of_the_first_one_whose_folder_is_gone(
    machines: Path, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [training(rate=0.1), training(rate=0.2)]
    monkeypatch.chdir(machines / "two")
    shutil.rmtree(machines / "one")
    client = Client()

    view = client.get_run(runs[0].name)
    assert (view.status, view.all_params["rate"]) == ("finished", 0.1)
    assert view.metrics["loss"].points == 50
    assert len(view.curves["loss"]) == 50
    assert "printed in the step" in view.console.text
    assert view.artifacts["notes.txt"].read_text() == "all is well"

    (rate,) = [
        p for p in client.compare_runs(*(run.name for run in runs)).params if p.key == "rate"
    ]
    assert rate.values == (0.1, 0.2)
    client.export_runs(runs[0].name, file="run.csv")
    rows = csv.DictReader(Path("run.csv").read_text(encoding="utf-8").splitlines())
    assert sum(row["kind"] == "metric" for row in rows) == 50

    reports = client.replay_run(runs[0].name, to="files")
    assert all(report.is_complete for report in reports)
    assert list(Path(".trackyard/tensorboard").rglob("*tfevents*"))

    step_id = runs[0].steps["fit"].id
    (sent,) = client.set_tags(step_id, {"reviewed": "yes"})
    client.set_note(step_id, "the good one")
    assert (sent.state, sent.problem) == ("sent", "")
    mlflow = MlflowClient(mlflow_server.url)
    (there,) = mlflow.search_runs(
        [e.experiment_id for e in mlflow.search_experiments()],
        f"tags.`trackyard.run_id` = '{step_id}'",
    )
    assert there.data.tags["reviewed"] == "yes"
    assert there.data.tags["mlflow.note.content"] == "the good one"
    assert there.info.status == "FINISHED"
