"""Does a run that is resumed stay one run, with one true end, here and on its trackers?"""

from __future__ import annotations

import json
import random
import threading

import pytest
from filing import Filing
from recorder import Recorder
from shared_recorder import SharedRecorder

import trackyard
from trackyard import Client, RunNotFoundError, TrackyardError, resume_run, start_run
from trackyard.journal.ending import find_end, read_status
from trackyard.journal.reader import latest_session
from trackyard.project.configuration import find_project
from trackyard.recovery.finishing import find_pending_runs, sync_all
from trackyard.recovery.indexing import rebuild_index
from trackyard.recovery.syncing import synchronise
from trackyard.runs.doctor import examine
from trackyard.runs.garbage import collect_garbage
from trackyard.runs.verifying import verify_runs


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


def begin(value=0.0, experiment="default"):
    with start_run("a", experiment) as run:
        run.log_metric("loss", value, 0)
        run.log_param("first", 1)
    return run


KILLED = """
import os, signal, sys, trackyard
run = trackyard.{call}("a")
run.log_metric("loss", {value}, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_resumed_run_is_the_same_run_and_is_running_until_it_ends_again(local):
    first = begin()
    run = resume_run("a")
    assert (run.id, run.urls) == (first.id, first.urls)
    run.log_metric("loss", 0.5, 1)
    run.log_param("second", 2)
    running = Client().get_run("a")
    assert (running.status, running.ended_at) == ("running", None)
    run.set_status("killed")
    run.end()

    (view,) = Client().list_runs()
    whole = Client().get_run("a")
    assert (view.status, whole.status, whole.id) == ("killed", "killed", first.id)
    assert whole.all_params == {"first": 1, "second": 2}
    assert whole.curves["loss"].values == [0.0, 0.5]
    assert [value for _, value, _ in local.logged("metrics")] == [0.0, 0.5]
    assert local.hooks() == ["start", "log", "end", "start", "log", "fail"]
    assert find_pending_runs(find_project()) == []


def test_run_is_resumed_as_often_as_one_likes_by_its_id(local):
    first = begin()
    for number in range(1, 4):
        with resume_run(first.id) as run:
            run.log_metric("loss", number, number)
        assert latest_session(run.folder) == number

    assert [value for _, value, _ in local.logged("metrics")] == [0.0, 1.0, 2.0, 3.0]
    assert local.hooks().count("end") == 4


def test_sessions_are_shown_and_what_lies_between_them_is_no_time_of_the_run(local):
    begin()
    with resume_run("a") as run:
        run.set_status("killed")
    with pytest.raises(ValueError, match="deliberate"), resume_run("a"):
        raise ValueError("deliberate")

    whole = Client().get_run("a")
    assert [session.status for session in whole.sessions] == ["finished", "killed", "failed"]
    moments = [when for one in whole.sessions for when in (one.started_at, one.ended_at)]
    assert moments == sorted(moments)
    assert (moments[0], moments[-1]) == (whole.started_at, whole.ended_at)
    open_for = sum(session.seconds for session in whole.sessions)
    assert 0 < open_for < (whole.ended_at - whole.started_at).total_seconds()
    (listed,), (found,) = Client().list_runs(), Client().search_runs("")
    rebuild_index(find_project())
    (again,) = Client().list_runs()
    for run in (whole, whole.steps[0], listed, found, again):
        assert run.seconds == pytest.approx(open_for, abs=1e-6)


def test_run_that_was_not_resumed_shows_no_sessions(local):
    begin()

    whole = Client().get_run("a")
    assert whole.sessions == ()
    took = (whole.ended_at - whole.started_at).total_seconds()
    assert whole.seconds == pytest.approx(took, abs=1e-5)


def test_status_that_was_said_before_says_nothing_of_the_next_end(local):
    with start_run("a") as run:
        run.set_status("killed")
    with resume_run("a"):
        pass

    assert Client().get_run("a").status == "finished"


@pytest.mark.parametrize("is_first", [True, False])
def test_run_whose_process_died_goes_on(local, is_first):
    if not is_first:
        begin()
    local.python(KILLED.format(call="start_run" if is_first else "resume_run", value=0.25))
    if is_first:
        sync_all(find_project(), patience=10)
        assert Client().get_run("a").status == "crashed"
    with resume_run("a") as run:
        run.log_metric("loss", 0.5, 2)
    sync_all(find_project(), patience=10)

    whole = Client().get_run("a")
    assert whole.status == "finished"
    assert whole.metrics["loss"].last == 0.5
    assert {0.25, 0.5} <= {value for _, value, _ in local.logged("metrics")}
    assert local.calls()[-1]["hook"] == "end"
    assert find_pending_runs(find_project()) == []


@pytest.mark.slow
def test_session_whose_process_dies_has_crashed_though_the_run_had_finished(local):
    begin()
    local.python(KILLED.format(call="resume_run", value=0.25))
    sync_all(find_project(), patience=10)

    assert Client().get_run("a").status == "crashed"
    (view,) = Client().list_runs()
    assert view.status == "crashed"
    assert local.calls()[-1]["hook"] == "fail"


@pytest.mark.slow
def test_signal_of_an_earlier_session_says_nothing_of_a_later_death(local):
    local.python("""
import os, signal, trackyard
run = trackyard.start_run("a")
run.log_metric("loss", 1)
os.kill(os.getpid(), signal.SIGTERM)
""")
    local.python(KILLED.format(call="resume_run", value=0.25))
    sync_all(find_project(), patience=10)

    assert Client().get_run("a").status == "crashed"


def test_run_without_trackers_is_resumed_and_listed_as_it_is(project):
    with start_run("a", experiment_tracker=None) as first:
        first.log_metric("loss", 1)
    run = resume_run("a")
    assert [view.status for view in Client().list_runs()] == ["running"]
    run.log_metric("loss", 2)
    run.end()

    assert [view.status for view in Client().list_runs()] == ["finished"]
    assert Client().get_run("a").metrics["loss"].points == 2


def test_child_run_is_resumed_below_its_parent(local):
    with start_run("search") as search, start_run("trial", nested=True) as trial:
        trial.log_metric("loss", 1)
    with resume_run("trial") as run:
        run.log_metric("loss", 2)

    assert run.parent_id == search.id
    (child,) = Client().get_run("search").children
    assert (child.id, child.status, child.metrics["loss"].last) == (trial.id, "finished", 2)


def test_what_is_printed_is_kept_with_what_was(local, capfd):
    with start_run("a"):
        print("one")
    with resume_run("a"):
        print("two")

    lines = [line.text for line in Client().get_run("a").steps[0].console]
    assert lines == ["one", "two"]


def test_doctor_verify_replay_and_gc_take_all_sessions_for_one_run(project):
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    project.add_tracker("local", Recorder)
    with start_run("a", experiment_tracker="filed") as run:
        run.log_metric("loss", 0.0, 0)
    with resume_run("a") as run:
        run.log_metric("loss", 0.5, 1)

    (verified,) = verify_runs(find_project(), "a")
    assert (verified.state, verified.pending) == ("same", 0)
    assert examine().problems == ()
    Client().replay_run("a", "local")
    assert [value for _, value, _ in project.logged("metrics")] == [0.0, 0.5]
    assert project.hooks() == ["start", "log", "end"]
    took = Client().get_run("a").seconds
    (collected,) = collect_garbage(find_project(), older_than=0).runs
    assert (collected.run, collected.state) == ("a", "deleted")
    (listed,) = Client().list_runs()
    assert listed.status == "finished"
    assert listed.seconds >= took - 0.001  # of floats


# Which run


def test_latest_run_of_a_name_is_meant(local):
    begin()
    second = begin()

    with resume_run("a") as run:
        assert run.id == second.id


def test_name_in_several_experiments_is_an_error_that_lists_them(local):
    begin(experiment="fraud")
    other = begin(experiment="churn")

    with pytest.raises(RunNotFoundError, match="'churn', 'fraud' have a run 'a'"):
        resume_run("a")
    with resume_run("a", experiment="churn") as run:
        assert run.id == other.id
    with pytest.raises(RunNotFoundError, match="there is one in 'churn', 'fraud'"):
        resume_run("a", experiment="spam")


def test_name_that_no_run_has_is_an_error_with_a_proposal(local):
    with start_run("notebook"):
        pass

    with pytest.raises(RunNotFoundError, match="did you mean 'notebook'"):
        resume_run("notebok")


def test_run_is_found_without_an_index_and_without_a_store(local):
    first = begin()
    for name in ("indexed", "store.db"):
        (find_project().home / name).unlink()

    with resume_run("a") as run:
        assert run.id == first.id


def test_run_that_lives_is_refused_and_goes_on(local):
    run = start_run("a")
    with pytest.raises(TrackyardError, match="'a' is still running"):
        resume_run("a")
    with pytest.raises(TrackyardError, match="'a' is still running"):
        resume_run(run.id)
    run.log_metric("loss", 1)
    run.end()

    assert Client().get_run("a").status == "finished"
    assert latest_session(run.folder) == 0
    assert local.hooks() == ["start", "log", "end"]


def test_one_of_several_that_resume_a_run_at_once_has_it(local):
    run = begin()
    together, found = threading.Barrier(4), []

    def resume():
        together.wait()
        try:
            found.append(resume_run(run.id))
        except TrackyardError as error:
            found.append(error)

    threads = [threading.Thread(target=resume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [one for one in found if not isinstance(one, TrackyardError)]
    assert read_status(run.folder)[0] == "running"
    winner.end()

    assert (latest_session(run.folder), read_status(run.folder)[0]) == (1, "finished")


def test_step_of_a_pipeline_is_refused(local):
    with trackyard.tracked_step(pipeline="etl", step="train") as run:
        run.log_metric("loss", 1)

    with pytest.raises(TrackyardError, match="belongs to pipeline 'etl'"):
        resume_run(run.id)


# Trackers


def test_tracker_that_was_away_gets_one_run_with_the_last_end(local):
    (local.root / "calls").write_text("a file where the folder goes")
    begin()
    local.python(KILLED.format(call="resume_run", value=0.25))
    (local.root / "calls").unlink()
    with resume_run("a") as run:
        run.log_metric("loss", 0.5, 2)
    sync_all(find_project(), patience=10)

    assert {0.0, 0.25, 0.5} == {value for _, value, _ in local.logged("metrics")}
    assert [hook for hook in local.hooks() if hook in ("end", "fail")] == ["end"]


def test_delivery_of_an_earlier_session_leaves_the_run_to_the_later_one(project):
    """One that holds the run as it is resumed does not wait for an end that is another's."""
    project.add_tracker("local", SharedRecorder)
    first = begin()
    run = resume_run("a")
    run.log_metric("loss", 1, 1)
    sync_all(find_project(), patience=1)
    assert find_end(first.folder) is None
    run.end()

    assert read_status(first.folder)[0] == "finished"


def test_tracker_that_is_configured_no_more_is_named_and_gets_the_rest_later(local, caplog):
    begin()
    configuration = local.root / "trackyard.toml"
    before = configuration.read_text()
    configuration.write_text("")
    with resume_run("a") as run:
        run.log_metric("loss", 0.5, 1)
    assert "goes on without tracker 'local'" in caplog.text
    assert [pending.folder for pending in find_pending_runs(find_project())] == [run.folder]
    configuration.write_text(before)
    synchronise(find_project())

    assert [value for _, value, _ in local.logged("metrics")] == [0.0, 0.5]
    assert local.hooks().count("end") == 2


def test_run_that_was_resumed_is_newer_for_older_versions_and_others_are_not(local):
    run = begin()
    number = json.loads((run.folder / "run.json").read_text())["format"]
    with resume_run("a"):
        pass

    assert (number, json.loads((run.folder / "run.json").read_text())["format"]) == (1, 2)


def test_disabled_program_resumes_anything(local):
    code = "import trackyard\nwith trackyard.resume_run('b') as run: run.log_metric('loss', 1)"
    done = local.python(code, TRACKYARD_DISABLE="1")

    assert (done.returncode, done.stderr) == (0, "")


# Any order of what may happen


def test_any_sequence_of_ends_deaths_and_resumptions_is_told_as_it_was(local):
    """The model: a run's status is that of its last session, its points are those of all."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    begin(value=-1.0)
    expected, points = "finished", [-1.0]
    for number in range(6):
        what = chance.choice(["end", "fail", "said", "end", "lose the index", "lose the summary"])
        run = resume_run("a")
        run.log_metric("loss", number, number + 1)
        points.append(float(number))
        if what == "said":
            run.set_status("killed")
        if what == "fail":
            with pytest.raises(ValueError, match="deliberate"), run:
                raise ValueError("deliberate")
        else:
            run.end()
        expected = {"said": "killed", "fail": "failed"}.get(what, "finished")
        if what == "lose the index":
            (find_project().home / "store.db").unlink(missing_ok=True)
            (find_project().home / "indexed").unlink(missing_ok=True)
        if what == "lose the summary":
            (run.folder / "summary.json").unlink(missing_ok=True)
        whole = Client().get_run("a")
        found = whole.curves["loss"].values
        assert (whole.status, found) == (expected, points), f"seed {seed}"
        assert [view.status for view in Client().list_runs()] == [expected], f"seed {seed}"
    assert [value for _, value, _ in local.logged("metrics")] == points, f"seed {seed}"


KILLED_SOMEWHERE = """
import os, signal, threading, time, trackyard

def kill():
    time.sleep({seconds})
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
run = trackyard.resume_run("a")
for step in range({first}, {first} + 1_000_000):
    run.log_metric("loss", float(step), step)
    print(step, flush=True)
"""


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(4, marks=pytest.mark.slow),
        pytest.param(40, marks=pytest.mark.long(reason="ten times as many")),
    ],
)
def test_run_that_is_killed_and_resumed_at_random_keeps_all_that_was_logged(local, kills):
    """What a call returned from is there once, and the run is what its last session was."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    before = begin(value=0.0)
    first, noted = 1, [0]
    for _ in range(kills):
        seconds = chance.choice([0.0, 0.3, 1.0]) + chance.random()
        done = local.python(KILLED_SOMEWHERE.format(seconds=seconds, first=first))
        told = [int(line) for line in done.stdout.split("\n")[:-1]]
        noted += told
        first = max([first, *told]) + 2  # one more may be logged, and not noted
        if chance.random() < 0.5:
            sync_all(find_project(), patience=10)
            expected = "crashed" if latest_session(before.folder) else "finished"
            assert Client().get_run("a").status == expected, f"seed {seed}"
    with resume_run("a") as run:
        run.log_metric("loss", float(first), first)
    sync_all(find_project(), patience=30)

    whole = Client().get_run("a")
    steps = whole.curves["loss"].steps
    sent = [step for _, _, step in local.logged("metrics")]
    assert whole.status == "finished", f"seed {seed}"
    assert {*noted, first} <= {*steps}, f"seed {seed}"
    assert len(steps) == len({*steps}), f"seed {seed}"
    assert {*steps} == {*sent}, f"seed {seed}"
    assert find_pending_runs(find_project()) == [], f"seed {seed}"
