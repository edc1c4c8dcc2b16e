"""Does code that begins W&B's runs itself give in a step what it gives alone?"""

from __future__ import annotations

import logging
import threading

import mlflow
import pytest
import wandb
from tensorboardX import SummaryWriter
from wandb import agent, init, login

from trackyard import Client, start_run
from trackyard.testing import MemoryTracker

BOTH = ["team", "memory"]


@pytest.fixture
def both(offline):
    offline.add_memory_tracker()
    return offline


def runs_in(project):
    """What W&B has: by name the file of each run."""
    paths = project.root.glob(".trackyard/runs/*/team/offline-run-*/*.wandb")
    files = [project.file(path.parents[2].name) for path in paths]
    return {[r.run.display_name for r in f.records if r.HasField("run")][-1]: f for f in files}


def test_each_run_of_a_loop_is_a_run_of_its_own_everywhere(both):
    with start_run("search", experiment_tracker=BOTH) as run:
        for rate in range(3):
            wandb.init(project="fraud", name=f"rate-{rate}", config={"rate": rate})
            for epoch in range(2):
                wandb.log({"loss": rate * 10 + epoch})
            wandb.summary["best"] = rate
            wandb.finish(exit_code=rate // 2)

    children = {child.name: child for child in Client().get_run(run.id).children}
    assert {name: child.status for name, child in children.items()} == {
        "rate-1": "finished",
        "rate-2": "failed",
    }
    found = runs_in(both)
    for rate, key in enumerate([run.id, children["rate-1"].id, children["rate-2"].id]):
        file, memory = found[f"rate-{rate}"], MemoryTracker.runs[key]
        assert file.run.run_id == key
        assert file.config["rate"] == rate
        assert [value for _, value in file.values("loss")] == [rate * 10, rate * 10 + 1]
        assert file.exit_codes == [rate // 2]
        assert memory.params == {"rate": rate}
        assert [m.value for m in memory.metrics.values()] == [rate * 10, rate * 10 + 1]
        assert memory.tags["summary.best"] == str(rate)
    assert len(found) == 3
    assert found["rate-1"].run.run_group == found["rate-2"].run.run_group != ""


def test_the_first_call_names_the_steps_run_and_describes_it(both):
    given = {"name": "mine", "notes": "why", "tags": ["a", "b"], "group": "g", "job_type": "fit"}
    with start_run("step", experiment_tracker=BOTH) as run:
        own = wandb.init(**given, config={"opt": {"lr": 0.1}}, config_exclude_keys=["no"])
        assert (own.id, own.name, own.group, own.job_type) == (run.id, "mine", "g", "fit")
        wandb.log({"loss": 1})

    file = both.file()
    last = [record.run for record in file.records if record.HasField("run")][-1]
    assert (last.display_name, last.notes, list(last.tags)) == ("mine", "why", ["a", "b"])
    assert (last.run_group, last.job_type, last.project) == ("g", "fit", "fraud")
    assert file.config["opt"] == {"lr": 0.1}
    memory = MemoryTracker.runs[run.id]
    assert memory.params == {"opt.lr": 0.1}
    tags = {key: memory.tags[f"wandb.{key}"] for key in ("name", "notes", "tags")}
    assert tags == {"name": "mine", "notes": "why", "tags": "a, b"}


@pytest.mark.slow
def test_variables_and_settings_count_as_arguments_do(both, monkeypatch):
    wandb.teardown()  # it reads variables once
    monkeypatch.setenv("WANDB_NAME", "by-variable")
    monkeypatch.setenv("WANDB_RUN_GROUP", "group")
    with start_run("step", experiment_tracker=BOTH):
        wandb.init(settings={"run_notes": "by setting"})
    wandb.teardown()

    last = [record.run for record in both.file().records if record.HasField("run")][-1]
    assert (last.display_name, last.run_group, last.notes) == ("by-variable", "group", "by setting")


def test_a_disabled_run_logs_nothing(both):
    with start_run("quiet", experiment_tracker=BOTH) as run:
        wandb.init(mode="disabled", config={"rate": 1})
        wandb.log({"loss": 1})
        wandb.finish()
        run.log_metric("portable", 2)

    assert [m.key for m in MemoryTracker.runs[run.id].metrics.values()] == ["portable"]
    assert MemoryTracker.runs[run.id].params == {}
    assert wandb.run is None


def test_two_runs_at_once_keep_to_themselves(both):
    with start_run("two", experiment_tracker=BOTH) as run:
        first = wandb.init(name="first", reinit="create_new")
        second = wandb.init(name="second", reinit="create_new")
        for number in range(2):
            first.log({"loss": number})
            second.log({"loss": 10 + number})
        second.finish()
        first.log({"loss": 2})
        first.finish()

    (child,) = Client().get_run(run.id).children
    values = {key: [m.value for m in MemoryTracker.runs[key].metrics.values()]
              for key in (run.id, child.id)}  # fmt: skip
    assert values == {run.id: [0, 1, 2], child.id: [10, 11]}
    assert {n: [v for _, v in f.values("loss")] for n, f in runs_in(both).items()} == {
        "first": [0, 1, 2],
        "second": [10, 11],
    }


def test_wandb_says_of_its_current_run_what_it_says_alone(both):
    with start_run("current", experiment_tracker=BOTH):
        assert wandb.run is None
        run = wandb.init()
        assert wandb.run is run
        assert wandb.init() is run
        another = wandb.init(reinit="finish_previous", name="another")
        assert another is not run
        assert wandb.run is another
        wandb.finish()
        assert wandb.run is None
        with pytest.raises(wandb.Error, match="must call"):
            wandb.log({"a": 1})
    assert wandb.run is None


def test_another_project_is_told_once_and_the_steps_is_kept(both, caplog):
    caplog.set_level(logging.WARNING)
    with start_run("place", experiment_tracker=BOTH):
        for _ in range(2):
            run = wandb.init(project="other", entity="acme")
            assert (run.project, run.entity) == ("fraud", "acme")
            run.finish()

    (line,) = [r.getMessage() for r in caplog.records if "other" in r.getMessage()]
    assert 'project = "other" in [experiment_trackers.team]' in line


def test_a_run_that_is_resumed_by_its_id_goes_on(both):
    with start_run("resumed", experiment_tracker=BOTH) as run:
        first = wandb.init()
        wandb.log({"loss": 1})
        wandb.finish()
        wandb.init(id=first.id, resume="allow")
        wandb.log({"loss": 2})

    assert [m.value for m in MemoryTracker.runs[run.id].metrics.values()] == [1, 2]
    assert [value for _, value in both.file().values("loss")] == [1, 2]
    assert not Client().get_run(run.id).children


def test_a_child_run_has_the_id_of_the_call(both):
    with start_run("ids", experiment_tracker=BOTH):
        wandb.init().finish()
        with wandb.init(id="mine", name="child") as child:
            assert child.id == "mine"
            child.log({"a": 1})

    assert runs_in(both)["child"].run.run_id == "mine"
    assert [value for _, value in runs_in(both)["child"].values("a")] == [1]


def test_calls_in_threads_land_in_the_run(both):
    with start_run("threads", experiment_tracker=BOTH) as run:
        wandb.init()
        threads = [
            threading.Thread(target=wandb.log, args=({f"t{number}": number},))
            for number in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = {m.key: m.value for m in MemoryTracker.runs[run.id].metrics.values()}
    assert found == {"t0": 0, "t1": 1, "t2": 2}


@pytest.mark.filterwarnings("ignore:Exception ignored in.*sweep.yaml")  # W&B leaves it open
def test_the_run_of_a_sweeps_trial_is_that_of_its_agent(both, monkeypatch):
    (both.root / "sweep.yaml").write_text("wandb_version: 1\nrate:\n  value: 0.77\n")
    wandb.teardown()  # it reads variables once
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(both.root / "sweep.yaml"))
    monkeypatch.setenv("WANDB_RUN_ID", "trial1")
    with start_run("trial", experiment_tracker=BOTH) as run:
        wandb.init(config={"rate": 0.1})
        wandb.log({"loss": wandb.config["rate"]})
    with start_run("later", experiment_tracker=BOTH) as later:
        later.log_metric("a", 1)
    wandb.teardown()

    trial = both.file(run.id)
    assert (trial.run.run_id, trial.run.sweep_id) == ("trial1", "sweep1")
    assert [value for _, value in trial.values("loss")] == [0.77]
    assert MemoryTracker.runs[run.id].params == {"rate": 0.77}
    assert both.file(later.id).run.run_id == later.id


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception ignored in.*config-trial")  # W&B leaves them open
def test_trials_of_an_agent_in_a_step_are_child_runs_of_its_sweep(online, monkeypatch, project):
    monkeypatch.setenv("WANDB_BASE_URL", online.url)
    monkeypatch.chdir(project.root)
    monkeypatch.setattr("wandb.agents.pyagent.Agent.HEARTBEAT_SLEEP_SECONDS", 0.1)
    wandb.teardown()  # it reads variables once
    online.trials = [("trial1", {"rate": 0.5}), ("trial2", {"rate": 0.25})]

    def train():
        with init(config={"rate": 9}) as run:
            log = run.log
            log({"loss": run.config["rate"] * 2})

    with start_run("search", experiment_tracker="team") as run:
        agent("sweep1", function=train, entity="acme", project="fraud", count=2)
        wandb.init(name="after").log({"best": 1})
    wandb.teardown()

    trials = [online.runs["trial1"], online.runs["trial2"]]
    assert [trial.sweep for trial in trials] == ["sweep1", "sweep1"]
    assert [trial.config["rate"] for trial in trials] == [0.5, 0.25]
    assert [[row["loss"] for row in trial.rows.values()] for trial in trials] == [[1.0], [0.5]]
    assert online.runs[run.id].display_name == "after"
    assert len(Client().get_run(run.id).children) == 2


def test_names_that_a_program_took_before_the_block_count_as_well(both):
    with start_run("early", experiment_tracker=BOTH) as run:
        login()
        with init(project="fraud", config={"rate": 0.5}, name="first") as own:
            own.log({"loss": 2.0}, step=3)
        with init(name="second") as second:
            second.log({"loss": 4.0})

    (child,) = Client().get_run(run.id).children
    assert MemoryTracker.runs[run.id].params == {"rate": 0.5}
    assert {name: file.values("loss") for name, file in runs_in(both).items()} == {
        "first": [(3, 2.0)],
        "second": [(0, 4.0)],
    }
    assert child.name == "second"
    assert wandb.init.__code__.co_name == "init"


FORKED = """
import os
import wandb
import trackyard

with trackyard.start_run("parent"):
    wandb.init()
    wandb.log({"before": 1})
    child = os.fork()
    if not child:
        try:
            wandb.log({"inside": 2})
            wandb.run.summary["word"] = "child"
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    wandb.log({"after": 3})
assert "WANDB_SERVICE" not in os.environ
"""


@pytest.mark.slow
def test_a_forked_child_logs_into_the_run(both):
    done = both.python(FORKED)
    assert done.returncode == 0, done.stderr

    (logged,) = Client().get_run("parent").steps
    assert {key: curve.values for key, curve in logged.curves.items()} == {
        "before": [1],
        "inside": [2],
        "after": [3],
    }
    assert logged.tags["summary.word"] == "child"
    assert [value for _, value in both.file().values("inside")] == [2]


@pytest.mark.slow
def test_a_server_has_each_run_of_a_loop_with_what_its_call_said(project, online):
    with start_run("search"):
        for rate in range(2):
            with wandb.init(name=f"rate-{rate}", config={"rate": rate}, group="g", notes="why"):
                wandb.log({"loss": rate})

    found = {run.display_name: run for run in online.runs.values()}
    assert set(found) == {"rate-0", "rate-1"}
    for rate in range(2):
        run = found[f"rate-{rate}"]
        assert run.config["rate"] == rate
        assert [value for _, value in run.values("loss")] == [rate]
        assert (run.state, run.exit_code) == ("finished", 0)


@pytest.mark.slow
def test_rows_of_tensorboards_files_arrive_where_wandb_is_to_sync_them(both, tmp_path):
    with start_run("board", experiment_tracker=BOTH) as run:
        wandb.init(sync_tensorboard=True)
        writer = SummaryWriter(str(tmp_path / "events"))
        for number in range(3):
            writer.add_scalar("loss", number / 2, number)
        writer.close()
        wandb.finish()

    assert not wandb.patched["tensorboard"]  # it would change what later runs log
    values = [row["loss"] for row in both.file().rows if "loss" in row]
    assert values == [0, 0.5, 1]
    found = [m for m in MemoryTracker.runs[run.id].metrics.values() if m.key == "loss"]
    assert [m.value for m in found] == values
    assert "requirements.txt" not in MemoryTracker.runs[run.id].artifacts  # W&B's own


@pytest.mark.slow
def test_what_wandb_collects_by_itself_is_there(project):
    project.configure(mode="offline", settings={})
    (project.root / "train.py").write_text(SCRIPT)
    done = project.run("train.py")
    assert done.returncode == 0, done.stderr

    file = project.file()
    programs = [r.environment.program for r in file.records if r.HasField("environment")]
    assert any(program.endswith("train.py") for program in programs)
    printed = [record.output_raw.line for record in file.records if record.HasField("output_raw")]
    assert "printed by the user" in "".join(printed)
    assert b"wandb==" in file.file("requirements.txt")
    assert b"wandb.init" in file.file("code/train.py")


SCRIPT = """
import trackyard
import wandb

with trackyard.start_run("collected"):
    wandb.init(save_code=True)
    print("printed by the user")
    wandb.log({"a": 1})
"""


@pytest.mark.slow
def test_mlflow_beside_wandb_gets_all_that_wandbs_own_calls_log(offline):
    with (offline.root / "trackyard.toml").open("a") as file:
        file.write('[experiment_trackers.local]\nflavor = "mlflow"\nstart_timeout = 60\n')
    with start_run("both", experiment_tracker=["team", "local"]):
        for rate in range(2):
            with wandb.init(name=f"rate-{rate}", config={"opt": {"rate": rate}}):
                wandb.log({"loss": rate / 2}, step=3)

    client = mlflow.MlflowClient(f"sqlite:///{offline.root}/.trackyard/mlflow.db")
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = {run.info.run_name: run for run in client.search_runs(experiments)}
    for rate, name in enumerate(("both", "rate-1")):
        points = client.get_metric_history(runs[name].info.run_id, "loss")
        assert [(point.step, point.value) for point in points] == [(3, rate / 2)]
        assert runs[name].data.params == {"opt.rate": str(rate)}
    parent = runs["rate-1"].data.tags["mlflow.parentRunId"]
    assert parent == runs["both"].info.run_id
