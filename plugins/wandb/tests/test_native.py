"""Do W&B's own calls land in the run, with nothing lost, and leave nothing behind?"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys

import pytest
import wandb

from trackyard import native_run, start_run
from trackyard_wandb.native_calls import NativeCalls

KEYS = {"loss": 0.5, "accuracy": 0.25}


@pytest.mark.slow
def test_native_and_portable_calls_give_the_same_metrics(offline):
    with start_run("native") as native:
        for number in range(5):
            wandb.log({key: value * number for key, value in KEYS.items()}, step=number)
    with start_run("portable") as portable:
        for number in range(5):
            portable.log_metrics({k: value * number for k, value in KEYS.items()}, step=number)

    files = [offline.file(run.id) for run in (native, portable)]
    for key in KEYS:
        assert files[0].values(key) == files[1].values(key)
        assert files[0].values(key, "_step") == files[1].values(key, "_step")
        assert len(files[0].values(key)) == 5
    assert files[0].axes == files[1].axes


def test_steps_that_go_backwards_lose_nothing_between_both_kinds_of_calls(offline):
    steps = [10, 4, 10, -1, 12]
    with start_run("a") as run:
        for step in steps:
            run.log_metric("portable", step, step=step)
            wandb.log({"native": step, "other": 1}, step=step)
        wandb.log({"auto": 1})
        run.log_metric("portable", 99)

    found = offline.file()
    assert sorted(value for _, value in found.values("portable")) == sorted([*steps, 99])
    assert all(step in (value, None) for step, value in found.values("portable"))
    # W&B itself makes one row of what is logged at one step.
    assert sorted(value for _, value in found.values("native")) == [-1, 4, 10, 12]
    assert all(step == value for step, value in found.values("native"))
    assert len(found.values("auto")) == 1
    numbers = [row["_step"] for row in found.rows]
    assert numbers == sorted(set(numbers))


def test_several_calls_make_one_row(offline):
    with start_run("a"):
        wandb.log({"a": 1}, commit=False)
        wandb.log({"b": 2})
        wandb.log({"a": 3}, step=5)
        wandb.log({"b": 4}, step=5, commit=True)
        wandb.log({"nested": {"c": 5}}, commit=False)

    rows = [{k: v for k, v in row.items() if k[0] != "_"} for row in offline.file().rows]
    assert rows == [
        {"a": 1, "b": 2, "trackyard_step": 0},
        {"a": 3, "b": 4, "trackyard_step": 5},
        {"nested": {"c": 5}, "trackyard_step": 6},
    ]


def test_what_else_wandb_logs_comes_along(offline, tmp_path):
    (tmp_path / "own.txt").write_text("saved")
    with start_run("a") as run:
        run.log_param("portable", 1)
        wandb.config.update({"rate": 0.5})
        wandb.summary["best"] = 7
        wandb.run.tags += ("mine",)
        wandb.run.name = "renamed"
        wandb.log({"page": wandb.Html("<b>x</b>"), "rows": wandb.Table(["x"], [[1]])})
        wandb.save(str(tmp_path / "own.txt"), base_path=str(tmp_path))
        (tmp_path / "own.txt").write_text("saved again")

    found = offline.file()
    assert (found.config["rate"], found.config["portable"]) == (0.5, 1)
    runs = [record.run for record in found.records if record.HasField("run")]
    assert list(runs[-1].tags) == ["mine"]
    assert runs[-1].display_name == "renamed"
    best = [i.value_json for r in found.records for i in r.summary.update if i.key == "best"]
    assert best == ["7", "7"] or best == ["7"]
    ((_, page),) = found.values("page")
    assert b"<b>x</b>" in found.file(page["path"])
    assert found.file("own.txt") == b"saved again"
    kinds = {record.WhichOneof("record_type") for record in found.records}
    assert {"artifact", "environment"} <= kinds
    assert found.exit_codes == [0]


def test_an_axis_that_the_step_chooses_is_kept(offline):
    with start_run("a"):
        wandb.define_metric("a", step_metric="epoch")
        wandb.define_metric("train/*", step_metric="epoch")
        wandb.log({"a": 1, "train/b": 2, "epoch": 3, "c": 4})

    axes = offline.file().axes
    assert axes["a"] == "epoch"
    assert axes.get("train/b") != "trackyard_step"
    assert axes["c"] == "trackyard_step"


def test_a_steps_own_init_and_finish_are_the_runs(offline, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")  # it must not ask for one
    before = sorted(offline.root.iterdir())
    with start_run("a") as run:
        with wandb.init(project="another", config={"rate": 0.5}, tags=["mine"]) as own:
            assert own.id == run.id
            own.log({"a": 1})
        run.log_metric("b", 2)
        raised = pytest.raises(Exception)
        with raised:
            own.log({"a": 2})

    assert [v for _, v in offline.file().values("a")] == [1]
    assert offline.file().values("b") == [(None, 2)]
    assert offline.file().exit_codes == [0]
    assert offline.file().config["rate"] == 0.5
    assert wandb.run is None
    assert wandb.setup().settings.mode == "online"
    assert {path.name for path in offline.root.iterdir()} - {path.name for path in before} <= {
        ".trackyard"
    }


def test_a_child_process_has_a_service_of_its_own(offline):
    code = "import os; print(os.environ.get('WANDB_SERVICE'))"
    with start_run("a"):
        wandb.log({"a": 1})
        done = subprocess.check_output([sys.executable, "-c", code], text=True)

    assert done.strip() == "None"


def test_of_overlapping_runs_the_first_has_the_global_one(offline, caplog):
    caplog.set_level(logging.WARNING)
    with start_run("first") as first, start_run("second") as second:
        wandb.log({"a": 1})
        native_run("team").log({"a": 2})
    assert wandb.run is None

    assert [v for _, v in offline.file(first.id).values("a")] == [1]
    assert [v for _, v in offline.file(second.id).values("a")] == [2]
    (line,) = [r.getMessage() for r in caplog.records if "overlaps" in r.getMessage()]
    assert "'second'" in line


def test_the_file_of_the_sdk_will_do_where_calls_are_not_written_down(make_run):
    run = make_run()
    folder = run.folder / "native"
    folder.mkdir()
    settings = wandb.Settings(console="off", silent=True, x_save_requirements=False)
    own = wandb.init(mode="offline", dir=folder, id=run.id, settings=settings)
    own.log({"a": 1}, step=3)
    own.config.update({"rate": 0.5})
    own.finish()

    calls = NativeCalls(run.folder, {})
    calls.wait_for_end(5)
    found = list(calls.new(is_all=True))
    kinds = [record.WhichOneof("record_type") for _, record in found]
    assert kinds.count("history") == 1
    assert "config" in kinds
    assert not {"header", "exit"} & set(kinds)
    names = [name for name, _ in found]
    assert len(set(names)) == len(names)
    (source,) = {name.rpartition(":")[0] for name in names}
    assert len(list(NativeCalls(run.folder, {source: 2}).new(is_all=True))) == len(names) - 2


WHOLE = """
import os, sys
import trackyard
hooks = (sys.excepthook, sys.exit)
with trackyard.start_run("native") as run:
    run.log_metric("b", 1, step=2)
    assert "wandb" not in sys.modules
    import wandb
    wandb.log({"a": 1}, step=7)
    wandb.config.update({"rate": 0.5})
assert "WANDB_SERVICE" not in os.environ
assert (sys.excepthook, sys.exit) == hooks
assert wandb.run is None
"""


@pytest.mark.slow
def test_a_step_that_imports_wandb_itself_logs_beside_a_worker_process(
    project, online, monkeypatch
):
    monkeypatch.delenv("TRACKYARD_ISOLATION")
    done = project.python(WHOLE)
    assert done.returncode == 0, done.stderr

    found = online.only
    assert (found.values("a"), found.values("b")) == ([(7, 1)], [(2, 1)])
    assert found.config["rate"] == 0.5
    assert found.state == "finished"
    assert (done.stdout, done.stderr) == ("", "")


KILLED = """
import os, signal, time
import trackyard
with trackyard.start_run("native") as run:
    run.log_metric("b", 1, step=2)
    import wandb
    for number in range(20):
        wandb.log({"a": number / 2}, step=number)
    wandb.config.update({"rate": 0.5})
    run.log_metric("b", 2, step=3)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_a_crashed_run_with_both_kinds_of_calls(
    project, online, monkeypatch
):
    monkeypatch.delenv("TRACKYARD_ISOLATION")  # its worker is another process
    assert project.python(KILLED).returncode == -signal.SIGKILL
    synced = project.sync()
    assert synced.returncode == 0, synced.stdout + synced.stderr

    found = online.only
    assert (found.state, found.exit_code) == ("failed", 137)
    assert found.config["trackyard"]["status"] == "crashed"
    assert found.config["rate"] == 0.5
    assert sorted(found.values("a")) == [(n, n / 2) for n in range(20)]
    assert sorted(found.values("b")) == [(2, 1), (3, 2)]
