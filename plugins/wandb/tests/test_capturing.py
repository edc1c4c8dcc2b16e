"""Does what W&B's own calls log reach the run's journal and its other trackers, once?"""

from __future__ import annotations

import signal
import wave
from functools import partial

import numpy
import PIL.Image
import pytest
import wandb
from click.testing import CliRunner
from wandb import Api, sweep

from trackyard import Client, start_run
from trackyard.cli.main import cli
from trackyard.testing import MemoryTracker

BOTH = ["team", "memory"]


@pytest.fixture
def both(offline):
    offline.add_memory_tracker()
    return offline


def stored(run):
    return MemoryTracker.runs[run.id]


def points(run, key):
    return [(m.step, m.value) for m in stored(run).metrics.values() if m.key == key]


def test_rows_config_and_summary_reach_the_other_trackers_and_stand_in_wandb_once(both):
    with start_run("all", experiment_tracker=BOTH) as run:
        wandb.config.update({"rate": 0.1, "opt": {"name": "sgd", "betas": [0.9, 0.99]}})
        for number in range(3):
            wandb.log({"loss": 1 / (1 + number), "inner": {"a": number}}, step=number)
        wandb.log({"word": "begun", "flag": True})
        wandb.summary["best"] = 7
        wandb.summary["loss"] = 0.25
        run.log_metric("portable", 5, step=1)

    assert stored(run).params == {"rate": 0.1, "opt.name": "sgd", "opt.betas": "[0.9, 0.99]"}
    assert points(run, "loss") == [(n, 1 / (1 + n)) for n in range(3)]
    assert points(run, "inner.a") == [(n, n) for n in range(3)]
    assert points(run, "flag") == [(2, 1)]  # W&B adds it to the row that is open
    tags = {key: text for key, text in stored(run).tags.items() if "trackyard" not in key}
    assert tags == {"word": "begun", "summary.best": "7", "summary.loss": "0.25"}
    assert {m.key for m in stored(run).metrics.values()} == {"loss", "inner.a", "flag", "portable"}
    file = both.file()
    assert [value for _, value in file.values("loss")] == [1, 1 / 2, 1 / 3]
    assert [value for _, value in file.values("portable")] == [5]
    assert len(file.rows) == 4
    assert Client().get_run(run.id).metrics["loss"].last == 1 / 3


def test_axes_that_the_code_chooses_are_the_steps_of_their_metrics(both):
    with start_run("axes", experiment_tracker=BOTH) as run:
        wandb.define_metric("loss", step_metric="epoch")
        wandb.define_metric("valid/*", step_metric="epoch")
        for number in range(2):
            wandb.log({"loss": number, "valid/a": number, "epoch": 10 * number, "other": number})

    assert points(run, "loss") == points(run, "valid/a") == [(0, 0), (10, 1)]
    assert points(run, "other") == [(0, 0), (1, 1)]
    assert points(run, "epoch") == [(0, 0), (1, 10)]
    assert Client().verify_run(run.id, "team")[0].differences == ()


def test_a_value_of_the_config_that_changes_is_a_tag_elsewhere_and_no_difference_here(both):
    with start_run("changes", experiment_tracker=BOTH) as run:
        wandb.init(config={"rate": 1, "kind": "a"})
        wandb.config.update({"rate": 2}, allow_val_change=True)

    assert stored(run).params == {"rate": 1, "kind": "a"}
    assert stored(run).tags["rate"] == "2"
    assert both.file().config["rate"] == 2
    assert Client().verify_run(run.id, "team")[0].differences == ()


def test_one_call_is_one_entry_and_several_without_commit_are_one(both):
    with start_run("entries", experiment_tracker=BOTH) as run:
        wandb.log({"a": 1, "b": 2})
        wandb.log({"a": 3}, commit=False)
        wandb.log({"b": 4})

    times = {}
    for metric in stored(run).metrics.values():
        times.setdefault(metric.timestamp, []).append((metric.key, metric.step, metric.value))
    assert [sorted(found) for _, found in sorted(times.items())] == [
        [("a", 0, 1), ("b", 0, 2)],
        [("a", 1, 3), ("b", 1, 4)],
    ]


def test_media_files_and_artifacts_arrive_as_what_they_are(both, tmp_path):
    (tmp_path / "own.txt").write_text("saved")
    (tmp_path / "weights.bin").write_bytes(b"weights")
    pixels = numpy.zeros((4, 4, 3), dtype=numpy.uint8)
    with start_run("media", experiment_tracker=BOTH) as run:
        wandb.log(
            {
                "page": wandb.Html("<b>x</b>"),
                "rows": wandb.Table(["x", "y"], [[1, "a"]]),
                "sample": wandb.Image(pixels),
                "several": [wandb.Image(pixels), wandb.Image(pixels + 9)],
                "spread": wandb.Histogram(np_histogram=([1, 2], [0.0, 0.5, 1.0])),
                "sound": wandb.Audio(_sound(tmp_path)),
                "film": wandb.Video(_film(tmp_path), format="gif"),
            },
            step=3,
        )
        wandb.save(str(tmp_path / "own.txt"), base_path=str(tmp_path))
        wandb.log_model(str(tmp_path / "weights.bin"), name="net")
        data = wandb.Artifact("data", type="dataset")
        data.add_file(str(tmp_path / "own.txt"))
        wandb.log_artifact(data)
        kept = wandb.Artifact("kept", type="result")
        kept.add_file(str(tmp_path / "own.txt"), name="deep/a.txt")
        wandb.log_artifact(kept)
        (tmp_path / "own.txt").write_text("saved again")

    found = Client().get_run(run.id).artifacts
    assert {name: found[name].kind for name in found if name != "console.log"} == {
        "page.html": "html",
        "rows.json": "table",
        "sample.png": "image",
        "several/0.png": "image",
        "several/1.png": "image",
        "spread.json": "histogram",
        "sound.wav": "audio",
        "film.gif": "video",
        "own.txt": "text",
        "net/weights.bin": "model",
        "net/trackyard-model.json": "model",
        "data/own.txt": "file",
        "datasets/data.json": "dataset",
        "kept/deep/a.txt": "file",
    }
    assert found["rows.json"].read_json() == {"columns": ["x", "y"], "data": [[1, "a"]]}
    assert found["own.txt"].read_text() == "saved again"
    assert found["net/weights.bin"].read_bytes() == b"weights"
    assert found["spread.json"].read_json() == {"counts": [1, 2], "edges": [0, 0.5, 1]}
    (described,) = found["net/trackyard-model.json"].read_json()["files"]
    assert described["name"] == "weights.bin"
    assert stored(run).artifacts["sample.png"].step == 3
    file = both.file()
    assert [len(file.values(key)) for key in ("page", "sample", "spread", "sound")] == [1] * 4
    types = [record.artifact.type for record in file.records if record.HasField("artifact")]
    assert sorted(types) == ["dataset", "model", "result", "run_table"]


def _sound(folder):
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 80)
    return str(path)


def _film(folder):
    path = folder / "film.gif"
    frames = [PIL.Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 99)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return str(path)


@pytest.mark.parametrize("tracker", ["memory", "again"])
def test_a_replay_has_what_native_calls_logged(both, tracker):
    with (both.root / "trackyard.toml").open("a") as file:
        file.write('[experiment_trackers.again]\nflavor = "wandb"\nmode = "offline"\n')
    with start_run("moved", experiment_tracker="team") as run:
        wandb.log({"loss": 0.5}, step=2)
        wandb.config.update({"rate": 1})

    done = CliRunner().invoke(cli, ["replay", run.id, "--to", tracker])
    assert done.exit_code == 0, done.output
    if tracker == "memory":
        assert points(run, "loss") == [(2, 0.5)]
    else:
        assert both.file(tracker="again").values("loss") == [(2, 0.5)]
        assert both.file(tracker="again").config["rate"] == 1


KILLED = """
import os, signal, time
from pathlib import Path
import wandb
import trackyard

def descendants(process):
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [*found, *(below for child in found for below in descendants(child))]

with trackyard.start_run("killed"):
    wandb.config.update({"rate": 0.5})
    kept = wandb.Artifact("kept", type="result")
    with kept.new_file("a.txt") as file:
        file.write("a")
    wandb.log_artifact(kept)
    (file,) = Path(wandb.run.dir).parent.glob("*.wandb")
    limit = time.monotonic() + 60
    while b"a.txt" not in file.read_bytes() and time.monotonic() < limit:
        time.sleep(0.01)  # the service writes it, after a tenth of a second
    for number in range(20):
        wandb.log({"loss": number / 2}, step=number)
    wandb.summary["best"] = 7
    for process in [*map(int, descendants(os.getpid())), os.getpid()]:
        os.kill(process, signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_calls_logged_is_there_where_their_process_and_the_sdks_are_killed_at_once(both):
    done = both.python(KILLED)
    assert done.returncode == -signal.SIGKILL, done.stderr
    both.sync()  # no server is there: it recovers the run, and says so

    run = Client().get_run("killed")
    assert run.status == "crashed"
    (logged,) = run.steps
    assert logged.params == {"rate": 0.5}
    assert logged.tags["summary.best"] == "7"
    curve = logged.curves["loss"]
    assert [*zip(curve.steps, curve.values)] == [(n, n / 2) for n in range(20)]
    assert run.artifacts["kept/a.txt"].read_text() == "a"
    assert [value for _, value in both.file().values("loss")] == [n / 2 for n in range(20)]


def test_as_a_source_it_gives_what_is_logged_and_refuses_what_needs_a_server(both, caplog):
    with start_run("source", experiment_tracker=["memory"], capture="wandb") as run:
        native = wandb.init(project="mine", config={"rate": 0.1})
        native.log({"loss": 0.5}, step=1)
        for call in (wandb.Api, Api, partial(sweep, {}), partial(wandb.sweep, {})):
            with pytest.raises(wandb.errors.UsageError, match="only captured"):
                call()
        native.finish()
        for asked in ({"mode": "online"}, {"settings": wandb.Settings(mode="online")}):
            with pytest.raises(wandb.errors.UsageError, match="only captured"):
                wandb.init(project="mine", **asked)

    assert points(run, "loss") == [(1, 0.5)]
    assert stored(run).params == {"rate": 0.1}
    assert "names the project" not in caplog.text  # W&B has no run that could be elsewhere
