"""Are runs inside a run its children, in threads, steps and other processes, and after it?"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import attrs
import pytest
from recorder import Recorder
from shared_recorder import SharedRecorder

import trackyard
from trackyard import Client, NoActiveRunError, log_metric, pipeline, start_run, step
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import sync_all


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def statuses(children):
    return {child.name: child.status for child in children.summaries()}


def test_child_run_has_its_parents_experiment_trackers_and_settings(local):
    local.add_tracker("other", Recorder)
    options = {"experiment_tracker": "local", "settings": {"local": {"label": "x"}}}
    with start_run("search", experiment="fraud", **options) as search:
        with start_run("trial", nested=True) as trial:
            log_metric("loss", 0.5)
        log_metric("best", 0.5)

    parent, child = local.calls("start")
    assert (child["parent"], child["group"], child["label"]) == (search.id, search.id, "x")
    assert (parent["parent"], parent["group"]) == (None, None)
    assert local.calls("start", "other") == []
    assert {call["name"]: call["metrics"] for call in local.calls("log")} == {
        "trial": [["loss", 0.5, None]],
        "search": [["best", 0.5, None]],
    }
    assert Client().get_run(trial.id).pipeline == "fraud"


def test_tree_is_seen_from_above_and_from_below(local):
    with (
        start_run("search") as search,
        start_run("trial", nested=True),
        start_run("fold", nested=True),
    ):
        assert statuses(Client().get_run(search.id).children) == {"trial": "running"}

    view = Client().get_run("search")
    (trial,) = view.children
    (fold,) = trial.children
    assert (fold.name, fold.parent.name, fold.parent.parent.name) == ("fold", "trial", "search")
    assert view.parent is None
    assert [run.name for run in Client().list_runs()] == ["search"]
    assert [run.name for run in Client().list_runs(parent="search")] == ["trial"]


def test_nested_run_without_a_run_around_it_is_as_any_other(local):
    with start_run("alone", nested=True) as run:
        assert run.parent_id is None

    assert [run.name for run in Client().list_runs()] == ["alone"]


def test_threads_of_a_run_start_child_runs_side_by_side(local):
    both = Event(), Event()

    def trial(number):
        with start_run(f"trial-{number}", nested=True):
            both[number].set()
            assert both[1 - number].wait(60)
            log_metric("number", number)

    with start_run("search") as search, ThreadPoolExecutor(2) as pool:
        list(pool.map(trial, range(2)))

    children = Client().get_run(search.id).children
    assert {child.name: child.metrics["number"].last for child in children} == {
        "trial-0": 0,
        "trial-1": 1,
    }


def test_thread_among_runs_that_are_no_relatives_is_refused(local):
    def begin():
        with pytest.raises(NoActiveRunError, match="2 runs are active"):
            start_run(nested=True)

    with start_run(), start_run(), ThreadPoolExecutor(1) as pool:
        pool.submit(begin).result()


@pytest.mark.parametrize("orchestrator", ["local", "process"])
def test_step_has_child_runs(project, orchestrator):
    project.configure(f'active_stack = "s"\n[stacks.s]\norchestrator = "{orchestrator}"\n'
                      'experiment_trackers = ["local"]\n')  # fmt: skip
    project.add_tracker("local", SharedRecorder)
    run = searching()

    view = Client().get_run(run.name)
    assert statuses(view.children) == {"trial-0": "finished", "trial-1": "killed"}
    (step_view,) = view.steps
    assert {child.parent_id for child in view.children} == {step_view.id}
    assert view.children[0].parent.parent.name == run.name
    starts = {call["name"]: call for call in project.calls("start")}
    assert starts["trial-0"]["parent"] == starts["search"]["id"]
    assert starts["trial-0"]["group"] == run.id
    assert view.status == "finished"


@step(experiment_tracker=True)
def search() -> None:
    for number in range(2):
        with start_run(f"trial-{number}", nested=True) as trial:
            if number:
                trial.set_status("killed")


@pipeline
def searching():
    search()


@attrs.frozen
class Pruned(Exception):
    """As a search raises it."""


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("status", ["killed", "failed", "finished"])
def test_said_status_counts_however_the_block_ends(local, status, raises):
    with suppress(Pruned), start_run("trial") as run:
        run.set_status(status)
        if raises:
            raise Pruned

    view = Client().get_run(run.id)
    assert view.status == status
    last = local.calls()[-1]
    if status == "finished":
        assert last["hook"] == "end"
    else:
        assert last["failure"]["status"] == status
        assert last["failure"]["kind"] == ("Pruned" if raises else status.capitalize())


def test_status_that_is_none_is_refused_in_a_warning(local, caplog):
    with start_run("trial") as run:
        run.set_status("pruned")

    assert "set_status: 'pruned' is none of finished, failed, killed" in caplog.text
    assert Client().get_run(run.id).status == "finished"


def test_step_that_says_that_it_failed_makes_the_pipeline_run_fail(local):
    @step(experiment_tracker=True)
    def train() -> int:
        trackyard.current_run().set_status("failed")
        return 1

    @pipeline
    def training():
        train()

    run = training()

    assert run.status == "failed"
    assert run.steps["train"].status == "failed"
    assert Client().get_run(run.name).steps[0].status == "failed"


def test_child_run_outlives_its_parent_and_is_delivered(local):
    search = start_run("search")
    trial = start_run("trial", nested=True)
    search.end()
    assert Client().get_run("search").status == "finished"
    assert statuses(Client().get_run("search").children) == {"trial": "running"}

    trial.log_metric("loss", 1)
    trial.end()

    assert statuses(Client().get_run("search").children) == {"trial": "finished"}
    assert [(call["hook"], call["name"]) for call in local.calls()][-2:] == [
        ("log", "trial"),
        ("end", "trial"),
    ]
    assert not list(local.root.glob(".trackyard/pending/*"))


def test_said_status_and_the_tree_outlive_kill_9(local):
    code = """
import os, trackyard
with trackyard.start_run("search"):
    with trackyard.start_run("pruned", nested=True) as trial:
        trial.set_status("killed")
        with trackyard.start_run("open", nested=True):
            trackyard.log_metric("loss", 1)
            os.kill(os.getpid(), 9)
"""
    assert local.python(code).returncode == -9
    sync_all(find_project(), patience=10)

    view = Client().get_run("search")
    assert view.status == "crashed"
    assert statuses(view.children) == {"pruned": "killed"}
    assert statuses(view.children[0].children) == {"open": "crashed"}
    names = {call["id"]: call["name"] for call in local.calls("start")}
    parents = {call["name"]: names.get(call["parent"]) for call in local.calls("start")}
    assert parents == {"search": None, "pruned": "search", "open": "pruned"}
    failed = {call["name"]: call["failure"]["status"] for call in local.calls("fail")}
    assert failed == {"search": "crashed", "pruned": "killed", "open": "crashed"}


def test_replay_of_a_run_takes_its_child_runs_along_parents_first(local):
    with (
        start_run("search") as search,
        start_run("trial", nested=True),
        start_run("fold", nested=True),
    ):
        pass
    local.add_tracker("other", Recorder)

    Client().replay_run("search", "other")
    result = local.trackyard("replay", "search", "--to", "other")

    assert result.returncode == 0, result.stderr
    starts = local.calls("start", "other")
    assert [call["name"] for call in starts][:3] == ["search", "trial", "fold"]
    assert starts[1]["parent"] == search.id
    assert starts[2]["parent"] == starts[1]["id"]


def test_child_process_starts_a_child_run_of_the_run_that_it_inherits(local):
    code = """
import trackyard
with trackyard.start_run("trial", nested=True):
    trackyard.log_metric("loss", 1)
"""
    with start_run("search") as search:
        done = local.python(code)
        assert done.returncode == 0, done.stderr

    (child,) = Client().get_run(search.id).children
    assert (child.name, child.metrics["loss"].last) == ("trial", 1)
    assert [call["parent"] for call in local.calls("start")] == [None, search.id]


def test_forked_child_starts_a_child_run(local):
    with start_run("search") as search:
        process = os.fork()
        if not process:
            with start_run("trial", nested=True):
                log_metric("loss", 1)
            os._exit(0)
        assert os.waitpid(process, 0)[1] == 0

    (child,) = Client().get_run(search.id).children
    assert (child.status, child.metrics["loss"].last) == ("finished", 1)


def test_line_of_a_foreign_hand_makes_nobody_a_child(local):
    with start_run("search") as search:
        pass
    with start_run("other") as other:
        pass
    (search.folder / "children").write_text(f"{other.id}\n../x\n{'0' * 32}\n")

    assert list(Client().get_run("search").children) == []


def test_run_is_deleted_with_its_child_runs(local):
    with start_run("search"), start_run("trial", nested=True) as trial:
        pass

    Client().delete_run("search")

    assert not trial.folder.exists()
    assert Client().list_runs() == []


def test_disabled_run_has_disabled_child_runs(local, monkeypatch):
    monkeypatch.setenv("TRACKYARD_DISABLE", "1")
    with start_run("search") as search, start_run("trial", nested=True) as trial:
        trial.set_status("killed")

    assert trial.parent_id == search.id
    assert not (local.root / ".trackyard").exists()


@pytest.mark.slow
def test_a_thousand_child_runs_are_listed_and_shown_as_quickly_as_they_are_read(local):
    with start_run("search", experiment_tracker=None):
        for number in range(1000):
            with start_run(f"trial-{number}", nested=True) as trial:
                trial.log_metric("loss", number)

    listed = local.trackyard("runs", "list", "--parent", "search", "-n", "5")
    assert listed.stdout.splitlines()[0].startswith("trial-999\t")
    shown = local.trackyard("runs", "show", "search")
    assert "  trial-19  finished" in shown.stdout
    assert "  and 980 more" in shown.stdout
    assert "trial-20" not in shown.stdout
    assert len(Client().get_run("search").children) == 1000
