"""Does what Comet's own calls log reach the run's journal and its other trackers, once?"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pandas
import pytest
from captured_calls import captured_names, captured_of, documented_calls
from click.testing import CliRunner

from trackyard import Client, start_run
from trackyard.cli.main import cli
from trackyard.testing import MemoryTracker

TRACKERS = ["team", "memory"]


@pytest.fixture
def both(project, server):
    project.configure(url=server.url, mode="online", workspace="acme", project="fraud")
    project.add_memory_tracker()
    return server


def text_of(artifact):
    with artifact.open() as file:
        return file.read()


def points(run, key):
    return [(m.step, m.value) for m in MemoryTracker.runs[run.id].metrics.values() if m.key == key]


def test_metrics_have_their_own_steps_epochs_contexts_and_times(both, comet_ml):
    with start_run("numbers", experiment_tracker=TRACKERS) as run:
        experiment = comet_ml.start()
        experiment.log_metric("loss", 1.5, step=3, epoch=2)
        with experiment.train():
            experiment.log_metric("accuracy", 0.5, step=4)
        experiment.log_metrics({"a": 1, "b": 2}, step=5)
        experiment.log_metric("odd", float("inf"), step=6)
        experiment.log_metric("text", "no number")
        run.log_metric("portable", 1, step=2)

    found = {m.key: m for m in MemoryTracker.runs[run.id].metrics.values() if m.key != "epoch"}
    assert {key: (m.step, m.value) for key, m in found.items()} == {
        "loss": (3, 1.5),
        "train_accuracy": (4, 0.5),
        "a": (5, 1.0),
        "b": (5, 2.0),
        "odd": (6, float("inf")),
        "portable": (2, 1.0),
    }
    assert set(points(run, "epoch")) == {(step, 2.0) for step in (3, 4, 5, 6)}
    (sent,) = [point for point in both.only.metrics if point["metricName"] == "loss"]
    assert found["loss"].timestamp == sent["timestamp"] * 1_000_000
    assert both.only.values("loss") == [(3, 1.5)]
    assert both.only.values("portable") == [(2, 1.0)]
    assert both.only.values("epoch") == []
    assert Client().get_run(run.id).metrics["loss"].last == 1.5


def test_params_are_nested_with_dots_and_keep_their_first_value(both, comet_ml):
    with start_run("params", experiment_tracker=TRACKERS) as run:
        experiment = comet_ml.start()
        experiment.log_parameters({"opt": {"lr": 0.1, "deep": {"x": 2}}, "rate": 1})
        experiment.log_parameter("rate", 2)
        experiment.set_step(7)
        experiment.log_other("best", 3)
        experiment.set_name("the good one")
        experiment.add_tags(["mine", "yours"])
        experiment.log_dataset_info("words", version="3")

    stored = MemoryTracker.runs[run.id]
    assert stored.params == {"opt.lr": 0.1, "opt.deep.x": 2, "rate": 1}
    assert stored.tags["rate"] == "2"
    assert stored.tags["best"] == "3"
    assert set(stored.tags["tags"].split(", ")) == {"mine", "yours"}
    assert stored.tags["dataset_info"] == "words-3"
    assert (stored.tags["comet.name"], "Name" in stored.tags) == ("the good one", False)
    assert both.only.params["opt|lr"] == 0.1
    assert set(both.only.tags) == {"mine", "yours"}


# Each call that the flavor's page names; what it logs is named after it, where it can be.
CALLS = {
    "log_metric": lambda e, _: e.log_metric("log_metric", 1),
    "log_metrics": lambda e, _: e.log_metrics({"log_metrics": 1}),
    "log_parameter": lambda e, _: e.log_parameter("log_parameter", 1),
    "log_parameters": lambda e, _: e.log_parameters({"log_parameters": {"a": 1}}),
    "log_dataset_hash": lambda e, _: e.log_dataset_hash([1]),
    "log_other": lambda e, _: e.log_other("log_other", 1),
    "log_others": lambda e, _: e.log_others({"log_others": 1}),
    "log_dataset_info": lambda e, _: e.log_dataset_info("words"),
    "add_tag": lambda e, _: e.add_tag("add_tag"),
    "add_tags": lambda e, _: e.add_tags(["add_tags"]),
    "log_image": lambda e, file: e.log_image(file("a.svg"), name="log_image"),
    "log_figure": lambda e, _: e.log_figure("log_figure", _figure()),
    "log_histogram_3d": lambda e, _: e.log_histogram_3d([1, 2], name="log_histogram_3d", step=1),
    "log_audio": lambda e, file: e.log_audio(file("a.wav"), file_name="log_audio.wav"),
    "log_video": lambda e, file: e.log_video(file("a.gif"), name="log_video.gif"),
    "log_text": lambda e, _: e.log_text("text"),
    "log_html": lambda e, _: e.log_html("<b>x</b>"),
    "log_asset": lambda e, file: e.log_asset(file("a.bin"), file_name="log_asset.bin"),
    "log_asset_data": lambda e, _: e.log_asset_data({}, name="log_asset_data.json"),
    "log_asset_folder": lambda e, file: e.log_asset_folder(
        str(Path(file("log_asset_folder/a.bin")).parent), log_file_name=True
    ),
    "log_table": lambda e, _: e.log_table("log_table.csv", [[1, 2]], headers=["a", "b"]),
    "log_confusion_matrix": lambda e, _: e.log_confusion_matrix(
        [0, 1], [0, 1], file_name="log_confusion_matrix.json"
    ),
    "log_curve": lambda e, _: e.log_curve("log_curve", [0, 1], [0, 1], step=1),
    "log_model": lambda e, file: e.log_model("log_model", file("b.bin")),
    "log_current_epoch": lambda e, _: e.log_current_epoch(2),
    "set_name": lambda e, _: e.set_name("set_name"),
    "log_html_url": lambda e, _: e.log_html_url("http://localhost/log_html_url"),
    "log_dataframe_profile": lambda e, _: e.log_dataframe_profile(
        pandas.DataFrame({"a": [1, 2]}), name="log_dataframe_profile"
    ),
    "log_tensorboard_folder": lambda e, file: e.log_tensorboard_folder(
        str(Path(file("log_tensorboard_folder/a.bin")).parent)
    ),
    "log_embedding": lambda e, _: e.log_embedding([[1.0, 2.0], [3.0, 4.0]], ["a", "b"]),
    "set_code": lambda e, _: e.set_code("1"),
    "set_filename": lambda e, _: e.set_filename("set_filename.py"),
    "log_dependency": lambda e, _: e.log_dependency("log_dependency", "1"),
    "log_system_info": lambda e, _: e.log_system_info("log_system_info", "1"),
    "set_os_packages": lambda e, _: e.set_os_packages(),
    "set_pip_packages": lambda e, _: e.set_pip_packages(),
    "log_remote_model": lambda e, _: e.log_remote_model("net", "s3://b/k", sync_mode=False),
    "set_epoch": lambda e, _: e.set_epoch(2),
    "log_epoch_end": lambda e, _: e.log_epoch_end(2),
    "send_notification": lambda e, _: e.send_notification("send_notification"),
    "log_code": lambda e, _: e.log_code(code="1", code_name="log_code.py"),
    "set_model_graph": lambda e, _: e.set_model_graph("graph"),
    "log_remote_asset": lambda e, _: e.log_remote_asset("s3://b/k", "log_remote_asset"),
    "log_points_3d": lambda e, _: e.log_points_3d("log_points_3d", [[0, 0, 0, 1, 1, 1]]),
    "set_step": lambda e, _: e.set_step(3),
}
# What calls log that cannot name it.
UNNAMED = {
    "log_dataset_hash": "dataset_hash",
    "log_dataset_info": "dataset_info",
    "add_tag": "tags",
    "add_tags": "tags",
    "log_text": "texts/",
    "log_html": "comet.html",
    "log_html_url": "comet.html",
    "log_current_epoch": "curr_epoch",
    "set_name": "comet.name",
    "log_embedding": "vectors-",
}


def _figure():
    import matplotlib.figure

    figure = matplotlib.figure.Figure()
    figure.subplots().plot([1, 2])
    return figure


def test_each_call_becomes_what_the_page_says(project, tmp_path, comet_ml):
    project.configure(mode="offline")
    project.add_memory_tracker()

    def file(name):
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
        return str(path)

    with start_run("calls", experiment_tracker=TRACKERS) as run:
        experiment = comet_ml.start()
        for call in CALLS.values():
            call(experiment, file)

    found = captured_of(run.id, CALLS)
    for call, start in UNNAMED.items():
        (found[call],) = {w for name, w in captured_names(run.id).items() if name.startswith(start)}
    assert found == documented_calls("comet")


@pytest.fixture
def files(both, tmp_path, comet_ml):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/weights.bin").write_bytes(b"\0\1")
    (tmp_path / "clip.gif").write_bytes(b"GIF89a")
    (tmp_path / "speech.wav").write_bytes(b"RIFF0000WAVE")
    (tmp_path / "a.svg").write_text("<svg/>")
    with start_run("files", experiment_tracker=TRACKERS) as run:
        experiment = comet_ml.start()
        experiment.log_histogram_3d([-1.0, 2.0, 2.0], name="weights", step=2)
        experiment.log_audio(str(tmp_path / "speech.wav"), file_name="speech.wav", step=1)
        experiment.log_video(str(tmp_path / "clip.gif"), name="clip.gif")
        experiment.log_image(str(tmp_path / "a.svg"), name="drawn", step=4)
        experiment.log_text("a sample", step=5)
        experiment.log_html("<b>x</b>")
        experiment.log_html("y")
        experiment.log_asset_data({"a": 1}, name="deep/data.json")
        experiment.log_confusion_matrix([0, 1], [0, 1])
        experiment.log_curve("roc", [0, 1], [0, 1])
        experiment.log_model("clf", str(tmp_path / "net"))
    found = Client().get_run(run.id).artifacts
    assert set(MemoryTracker.runs[run.id].artifacts) == set(found)
    return {name: artifact for name, artifact in found.items() if name != "console.log"}


def test_files_are_of_the_kind_that_the_call_has_named(files):
    (text,) = [name for name in files if name.startswith("texts/")]
    assert {name: artifact.kind for name, artifact in files.items()} == {
        "weights.json": "histogram",
        "speech.wav": "audio",
        "clip.gif": "video",
        "drawn.svg": "image",
        text: "text",
        "comet.html": "html",
        "deep/data.json": "file",
        "confusion-matrix.json": "file",
        "roc.json": "file",
        "models/clf/net/weights.bin": "model",
        "models/clf/trackyard-model.json": "model",
    }
    assert (files[text].step, text_of(files[text])) == (5, "a sample")
    assert text_of(files["comet.html"]) == "<b>x</b>y"
    assert files["drawn.svg"].step == 4


def test_a_histogram_has_its_values_in_portable_parts(files):
    content = json.loads(text_of(files["weights.json"]))

    counted = [
        (left, right, count)
        for left, right, count in zip(
            content["edges"][:-1], content["edges"][1:], content["counts"], strict=True
        )
        if count
    ]
    assert [count for _, _, count in counted] == [1, 2]
    assert counted[0][0] <= -1.0 <= counted[0][1]
    assert counted[1][0] <= 2.0 <= counted[1][1]
    assert content["edges"] == sorted(content["edges"])


def test_a_model_is_described_with_its_files(files, comet_ml):
    content = json.loads(text_of(files["models/clf/trackyard-model.json"]))

    assert [(file["name"], file["size"]) for file in content["files"]] == [("net/weights.bin", 2)]


KILLED = """
import os, signal, time
import comet_ml, trackyard

with trackyard.start_run("killed", experiment_tracker="team") as run:
    experiment = comet_ml.start()
    for number in range(50):
        experiment.log_metric("a", number / 2, step=number)
    messages = next(os.scandir(".trackyard/runs")).path + "/team/native/messages.json"
    while open(messages).read().count('"a"') < 50:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_comets_file_has_is_kept_by_a_kill_and_can_be_replayed(both, project):
    assert project.python(KILLED).returncode == -9
    for _ in range(2):
        synced = project.sync()
        assert synced.returncode == 0, synced.stdout + synced.stderr
    (run,) = Client().list_runs()

    assert both.only.values("a") == [(n, n / 2) for n in range(50)]
    assert Client().get_run(run.id).metrics["a"].points == 50
    replayed = CliRunner().invoke(cli, ["replay", run.id, "--to", "memory"])
    assert replayed.exit_code == 0, replayed.output
    assert points(run, "a") == [(n, n / 2) for n in range(50)]


def test_another_tracker_of_comets_gets_it_by_a_replay(both, project, comet_ml):
    with start_run("once", experiment_tracker="team") as run:
        comet_ml.start().log_metric("loss", 0.5, step=2)
    with (project.root / "trackyard.toml").open("a", encoding="utf-8") as file:
        file.write('[experiment_trackers.other]\nflavor = "comet"\nmode = "offline"\n')

    replayed = CliRunner().invoke(cli, ["replay", run.id, "--to", "other"])
    assert replayed.exit_code == 0, replayed.output
    (path,) = project.root.glob(".trackyard/runs/*/other/*.zip")
    with zipfile.ZipFile(path) as archive:
        lines = [json.loads(line) for line in archive.read("messages.json").splitlines()]
    found = [line["payload"]["metric"] for line in lines if line["type"] == "metric_msg"]
    assert [(one["metricName"], one["step"], one["metricValue"]) for one in found] == [
        ("loss", 2, 0.5)
    ]


def test_as_a_source_it_gives_what_is_logged_and_needs_no_account(both, comet_ml):
    login, start = comet_ml.login, comet_ml.start  # as a program takes names at its top
    with start_run("source", experiment_tracker=["memory"], capture="comet") as run:
        login()
        experiment = start(project_name="mine")
        experiment.log_parameter("rate", 0.1)
        experiment.log_metric("loss", 0.5, step=1)
        comet_ml.Experiment(project_name="mine").log_metric("second", 2, step=1)

    (child,) = Client().get_run(run.id).children
    assert points(child, "second") == [(1, 2.0)]
    assert points(run, "loss") == [(1, 0.5)]
    assert MemoryTracker.runs[run.id].params["rate"] == 0.1
    assert not both.experiments
