"""Does a rank above 0 start nothing that rank 0 has started for all?"""

from __future__ import annotations

import pytest
from recorder import Recorder

from trackyard import Client, start_run
from trackyard.system.ranks import process_rank

# What launchers give to their second process, and which rank that is.
LAUNCHED = {
    "torchrun": ({"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}, 1),
    "torchrun on a second node": ({"RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, 2),
    "torchrun by srun": ({"RANK": "0", "SLURM_PROCID": "1"}, 0),
    "Lightning": ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}, 1),
    "Lightning on a second node": ({"LOCAL_RANK": "0", "NODE_RANK": "1", "WORLD_SIZE": "4"}, 4),
    "Lightning in a SLURM shell": ({"LOCAL_RANK": "1", "SLURM_PROCID": "0"}, 1),
    "first node of Lightning": ({"NODE_RANK": "0"}, 0),
    "Horovod": ({"HOROVOD_RANK": "3", "HOROVOD_LOCAL_RANK": "1"}, 3),
    "Open MPI": ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}, 2),
    "Open MPI in a SLURM job": ({"OMPI_COMM_WORLD_RANK": "2", "SLURM_PROCID": "0"}, 2),
    "MPICH": ({"PMI_RANK": "1", "PMI_SIZE": "2"}, 1),
    "PMIx": ({"PMIX_RANK": "1"}, 1),
    "jsrun": ({"JSM_NAMESPACE_RANK": "5", "JSM_NAMESPACE_LOCAL_RANK": "1"}, 5),
    "SLURM": ({"SLURM_PROCID": "2", "SLURM_LOCALID": "0"}, 2),
    "nobody": ({}, 0),
}


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


@pytest.mark.parametrize(("variables", "rank"), LAUNCHED.values(), ids=LAUNCHED)
def test_rank_is_what_the_launcher_says(monkeypatch, variables, rank):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert process_rank() == rank


SCRIPT = """
import trackyard
from trackyard import pipeline, step

@step(experiment_tracker=True)
def load() -> list:
    return [1, 2]

@step(experiment_tracker=True)
def train(items) -> int:
    trackyard.log_metric("loss", 1.0, step=0)
    return sum(items)

@pipeline
def training():
    train(load())

run = training()
print(run.status, run.steps["train"].outputs["output"].load())
"""
LIGHTNING = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}


def test_pipeline_in_a_rank_above_0_runs_and_leaves_no_second_pipeline_run(local):
    done = local.python(SCRIPT, **LIGHTNING)

    assert done.returncode == 0, done.stderr
    assert "finished 3" in done.stdout
    assert local.calls() == []
    assert Client().list_runs() == []


@pytest.mark.parametrize("is_inherited", [False, True])
def test_block_in_a_rank_above_0_starts_no_run(local, is_inherited):
    code = """
import trackyard
trackyard.log_metric("loss", 1.0, step=0) if INHERITED else None
with trackyard.start_run("train", experiment="ddp") as run:
    trackyard.log_metric("loss", 1.0, step=1)
    with trackyard.start_run("trial", nested=True):
        trackyard.log_metric("loss", 1.0, step=2)
    print(run.id)
"""
    code = code.replace("INHERITED", str(is_inherited))
    with start_run("train", experiment="ddp") as run:
        run.log_metric("loss", 0.0, step=0)
        hidden = {} if is_inherited else {"TRACKYARD_RUN_ID": "", "TRACKYARD_RUN_FOLDER": ""}
        done = local.python(code, **LIGHTNING, **hidden)

    assert done.returncode == 0, done.stderr
    assert (done.stdout.strip() == run.id) is is_inherited
    assert [found.id for found in Client().list_runs()] == [run.id]
    assert len(Client().get_run(run.id).children) == 0
    assert local.logged("metrics") == [["loss", 0.0, 0]]


def test_tracker_of_all_ranks_gets_what_an_inherited_run_is_given(project):
    project.add_tracker("local", Recorder, rank="all")
    code = """
import trackyard
with trackyard.start_run("train"):
    trackyard.log_metric("loss", 1.0, step=1)
"""
    with start_run("train") as run:
        run.log_metric("loss", 0.0, step=0)
        done = project.python(code, **LIGHTNING)

    assert done.returncode == 0, done.stderr
    assert sorted(key for key, _, _ in project.logged("metrics")) == ["loss", "rank1/loss"]
    assert len(project.calls("start")) == 1
