"""Does MLflow have what was logged, as it was logged?"""

from __future__ import annotations

import math
import sys
import time

import pytest
from matrices import first_by_default

from trackyard import (
    log_artifact,
    log_dict,
    log_image,
    log_text,
    pipeline,
    start_run,
    step,
)
from trackyard.contract import find_project
from trackyard.recovery.finishing import sync_all

ODD_KEYS = [
    "",
    ".",
    "..",
    "..hidden",
    "/first",
    "last/",
    "a//b",
    "a/../b",
    "a/./b",
    " spaces ",
    "tab\t",
    "line\n",
    "nul\0",
    "percent%",
    "a#b?c",
    "quote\"'`",
    "sträße/größe",
    "数",
    "🎉",
    "\ud800",
    "_u41_",
    "x" * 300,
    "y/" * 200 + "z",
]
PLAIN_KEYS = ["loss", "train/loss", "a.b-c_d e:f", "trailing.", "deep/er/and/deeper", "größe", "7"]


def test_metrics_keep_steps_and_their_own_times(mlflow_project):
    moments = []
    with start_run("curve") as run:
        for index in (5, 3, 0, -2, 10**12):
            before = time.time_ns() // 1_000_000
            run.log_metric("loss", index / 7, step=index)
            moments.append((before, time.time_ns() // 1_000_000))
            time.sleep(0.01)
        run.log_metric("without_step", 1)
        time.sleep(0.3)  # what is delivered later has its own time all the same

    found = mlflow_project.run("curve")
    history = mlflow_project.client().get_metric_history(found.info.run_id, "loss")
    assert [metric.step for metric in history] == [5, 3, 0, -2, 10**12]
    assert [metric.value for metric in history] == [n / 7 for n in (5, 3, 0, -2, 10**12)]
    for metric, (before, after) in zip(history, moments, strict=True):
        assert before <= metric.timestamp <= after
    (plain,) = mlflow_project.client().get_metric_history(found.info.run_id, "without_step")
    assert plain.step == 0
    assert found.info.start_time <= history[0].timestamp
    assert found.info.end_time >= plain.timestamp + 300


def test_numbers_that_are_none_are_kept_as_mlflow_can(mlflow_project):
    with start_run("odd") as run:
        run.log_metrics({"nan": math.nan, "up": math.inf, "down": -math.inf, "huge": 10**400})
        run.log_metrics({"fine": 1.5, "text": "no number", "true": True})

    metrics = mlflow_project.run("odd").data.metrics
    assert math.isnan(metrics.pop("nan"))
    largest = sys.float_info.max
    assert metrics == {"up": largest, "down": -largest, "huge": largest, "fine": 1.5, "true": 1}


def test_odd_steps_hurt_nothing(mlflow_project):
    with start_run("steps") as run:
        for number, odd in enumerate([1.5, 2**63, -(2**70), math.nan, "three", None]):
            run.log_metric(f"m{number}", number, step=odd)

    found = mlflow_project.run("steps")
    assert found.data.metrics == {f"m{number}": number for number in range(6)}
    client = mlflow_project.client()
    steps = [client.get_metric_history(found.info.run_id, f"m{n}")[0].step for n in range(6)]
    assert steps == [1, 2**63 - 1, -(2**63), 0, 0, 0]


def test_params_and_tags_are_kept(mlflow_project):
    with start_run("named", tags={"team": "fraud"}) as run:
        run.log_params({"rate": 0.1, "depth": 3, "name": "base", "on": True, "none": None})
        run.log_param("list", [1, "two"])
        run.set_tags({"stage": "dev", "number": 7})
        run.set_tag("stage", "prod")

    data = mlflow_project.run("named").data
    assert data.params == {
        "rate": "0.1",
        "depth": "3",
        "name": "base",
        "on": "True",
        "none": "None",
        "list": "[1, 'two']",
    }
    assert data.tags["team"] == "fraud"
    assert data.tags["stage"] == "prod"
    assert data.tags["number"] == "7"


@pytest.mark.parametrize("length", first_by_default([6001, 6000, 100_000]))
def test_long_params_are_kept_whole_as_an_artifact(mlflow_project, length):
    text = "".join(chr(ord("a") + index % 26) for index in range(length))
    with start_run("long") as run:
        run.log_param("prompt/text", text)
        run.log_param("short", 1)

    found = mlflow_project.run("long")
    assert found.data.params["short"] == "1"
    if length <= 6000:
        assert found.data.params["prompt/text"] == text
        assert mlflow_project.client().list_artifacts(found.info.run_id) == []
    else:
        assert found.data.params["prompt/text"] == text[:5999] + "…"
        whole = mlflow_project.artifact(found, "trackyard/params/prompt_text.txt")
        assert whole.decode() == text


def test_long_tags_are_kept_whole_as_an_artifact(mlflow_project):
    with start_run("long") as run:
        run.set_tag("note", "n" * 9000)

    found = mlflow_project.run("long")
    assert found.data.tags["note"] == "n" * 4999 + "…"
    assert mlflow_project.artifact(found, "trackyard/tags/note.txt") == b"n" * 9000


def test_odd_keys_arrive_each_under_a_key_of_its_own(mlflow_project):
    keys = [*ODD_KEYS, *PLAIN_KEYS]
    with start_run("keys") as run:
        for number, key in enumerate(keys):
            run.log_metric(key, number)
            run.log_param(key, f"p{number}")
            run.set_tag(key, f"t{number}")

    data = mlflow_project.run("keys").data
    assert sorted(data.metrics.values()) == list(range(len(keys)))
    assert set(data.params.values()) == {f"p{number}" for number in range(len(keys))}
    tags = {key: value for key, value in data.tags.items() if key in data.metrics}
    assert set(tags.values()) == {f"t{number}" for number in range(len(keys))}
    assert {data.metrics[key] for key in PLAIN_KEYS} == set(range(len(ODD_KEYS), len(keys)))


def test_a_conflicting_param_poisons_nothing_else(mlflow_project):
    with start_run("conflict") as run:
        for number in range(50):
            run.log_metric("before", number, step=number)
        run.log_param("rate", 1)
        run.log_params({"rate": 2, "other": 3})
        run.set_tag("after", "yes")
        run.log_metric("after", 1)
        run.log_text("after", "after.txt")

    found = mlflow_project.run("conflict")
    assert found.info.status == "FINISHED"
    assert found.data.params == {"rate": "1", "other": "3"}
    assert found.data.metrics == {"before": 49, "after": 1}
    assert found.data.tags["after"] == "yes"
    assert len(mlflow_project.client().get_metric_history(found.info.run_id, "before")) == 50
    assert mlflow_project.artifact(found, "after.txt") == b"after"


@pytest.mark.slow
def test_ten_thousand_metrics_arrive_each_once(mlflow_project):
    with start_run("many") as run:
        for index in range(10_000):
            run.log_metric("loss", index, step=index)
    sync_all(find_project(), patience=100)  # what a busy machine has not taken within its budget

    run_id = mlflow_project.run("many").info.run_id
    history = mlflow_project.client().get_metric_history(run_id, "loss")
    assert [metric.step for metric in history] == list(range(10_000))
    assert [metric.value for metric in history] == list(range(10_000))


def test_artifacts_keep_names_and_contents(mlflow_project, tmp_path):
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)))
    (folder / "parts" / "head.bin").write_bytes(b"head")

    @step(experiment_tracker=True)
    def save():
        log_text("hello", "notes/deep/hello.txt")
        log_text("top", "top.txt")
        log_dict({"rate": 0.1}, "config.json")
        log_image(b"\x89PNG...", "images/sample.png")
        log_artifact(folder, "models/best")
        log_artifact(folder / "weights.bin")
        log_text("up", "../../outside.txt")
        log_text("root", "/etc/absolute.txt")
        log_text("odd", "odd ü#?&+ 100%.txt")
        (folder / "weights.bin").write_bytes(b"changed")

    @pipeline
    def saving():
        save()

    saving()

    found = mlflow_project.run("save")
    contents = {
        "notes/deep/hello.txt": b"hello",
        "top.txt": b"top",
        "images/sample.png": b"\x89PNG...",
        "models/best/weights.bin": bytes(range(256)),
        "models/best/parts/head.bin": b"head",
        "weights.bin": bytes(range(256)),
        "outside.txt": b"up",
        "etc/absolute.txt": b"root",
    }
    for name, content in contents.items():
        assert mlflow_project.artifact(found, name) == content
    # MLflow's client cannot ask for a name with # in it, and it is there.
    (odd,) = (mlflow_project.home / "mlflow-artifacts").rglob("odd ü_u23__u3f_&+ 100_u25_.txt")
    assert odd.read_bytes() == b"odd"
    assert b"0.1" in mlflow_project.artifact(found, "config.json")


def test_final_file_is_linked_and_a_later_one_of_its_name_leaves_it_alone(mlflow_project):
    file = mlflow_project.root / "weights.bin"
    file.write_bytes(b"final")
    with start_run("linked") as run:
        log_artifact(file, "models/a.bin", final=True)
        log_artifact(file, "models/b.bin", final=True)
        run.log_model(file, "best", final=True)
    run = mlflow_project.run("linked")
    stored = [*(mlflow_project.home / "mlflow-artifacts").rglob("*.bin")]

    assert len(stored) == 3
    assert all(path.samefile(file) for path in stored)
    assert mlflow_project.artifact(run, "models/a.bin") == b"final"


def test_file_of_a_name_that_a_final_one_had_is_another_file(mlflow_project):
    file, other = mlflow_project.root / "weights.bin", mlflow_project.root / "other.bin"
    file.write_bytes(b"final")
    other.write_bytes(b"other")
    with start_run("linked"):
        log_artifact(file, final=True)
        log_artifact(other, "weights.bin")

    assert mlflow_project.artifact(mlflow_project.run("linked"), "weights.bin") == b"other"
    assert file.read_bytes() == b"final"
