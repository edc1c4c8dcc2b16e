"""Is it noticed when a tracker does not hold what was logged, and only then?"""

from __future__ import annotations

import json
import math
import struct
import time
import tracemalloc

import pytest
from filing import Filing, HangingReader
from recorder import Recorder

from trackyard import ConfigError, start_run, tracked_step
from trackyard.contract.records import Capabilities, Metric, Tag
from trackyard.project.configuration import find_project
from trackyard.runs.differences import differences, same_value
from trackyard.runs.folders import find_runs
from trackyard.runs.gathered import Gathered
from trackyard.runs.verifying import verify_run, verify_runs
from trackyard.tracking.step_records import group_id


@pytest.fixture
def logged(project):
    """A project with a run of every kind of record, and a function that verifies it."""
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    with start_run("whole", experiment_tracker="filed", tags={"team": "a"}) as run:
        for step in range(100):
            run.log_metrics({"loss": 1 / (step + 1), "acc b": step / 3}, step=step)
        for value in (1.0, 1.0, 2.0, math.nan, math.inf):
            run.log_metric("free", value)
        run.log_metric("bad", 1.0)
        run.log_metric("rounded", 1.0, step=1.5)
        run.log_params({"rate": 0.1, "long": "x" * 100, "none": None, "yes": True})
        run.set_tag("note", "first")
        run.set_tag("note", "second")
        run.log_text("hello", "texts/note.txt")
    (file,) = (project.root / "filed").iterdir()
    return file


def verify(name="whole", tracker=None):
    return [v for run in find_runs(find_project(), name) for v in verify_run(run, find_project())]


def change(file, edit):
    kept = json.loads(file.read_text())
    edit(kept)
    file.write_text(json.dumps(kept))


def test_run_that_was_fitted_to_the_backend_is_the_same(logged):
    (verification,) = verify()

    assert (verification.state, verification.differences) == ("same", ())
    assert (verification.quarantined, verification.pending) == (1, 0)
    assert verification.records == 200 + 5 + 1 + 4 + 1 + 2 + 1 + 3


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda k: k["metrics"].pop(0), ("metric", "loss", "missing", 1, "1 at step 0", "")),
        (lambda k: k["metrics"].clear(), ("metric", "loss", "missing", 100, "1 at step 0", "")),
        (
            lambda k: k["metrics"].append(["loss", 7.0, 3, 1]),
            ("metric", "loss", "extra", 1, "", "7 at step 3"),
        ),
        (
            lambda k: k["params"].update(rate="0.2"),
            ("param", "rate", "different", 1, "0.1", "0.2"),
        ),
        (lambda k: k["params"].pop("yes"), ("param", "yes", "missing", 1, "True", "")),
        (
            lambda k: k["tags"].update(note="first"),
            ("tag", "note", "different", 1, "second", "first"),
        ),
        (lambda k: k["tags"].pop("team"), ("tag", "team", "missing", 1, "a", "")),
        (
            lambda k: k["tags"].update({"trackyard.status": "running"}),
            ("tag", "trackyard.status", "different", 1, "finished", "running"),
        ),
        (
            lambda k: k["artifacts"].pop("texts/note.txt"),
            ("artifact", "texts/note.txt", "missing", 1, "5 bytes", ""),
        ),
        (
            lambda k: k["artifacts"].update({"texts/note.txt": b"hella!".hex()}),
            ("artifact", "texts/note.txt", "different", 1, "5 bytes", "6 bytes"),
        ),
    ],
)
def test_what_is_missing_or_different_is_listed(logged, edit, expected):
    change(logged, edit)
    (verification,) = verify()

    assert verification.state == "different"
    found = verification.differences[0]
    assert (
        found.kind, found.key, found.problem, found.count, found.expected, found.found
    ) == expected  # fmt: skip


def test_point_of_the_wrong_value_is_missing_and_another_is_extra(logged):
    def edit(kept):
        kept["metrics"][0][1] = 5.0

    change(logged, edit)
    (verification,) = verify()

    assert [(d.problem, d.expected, d.found) for d in verification.differences] == [
        ("missing", "1 at step 0", ""),
        ("extra", "", "5 at step 0"),
    ]


def test_steps_of_the_backends_own_are_no_difference(logged):
    def edit(kept):
        for index, point in enumerate(kept["metrics"]):
            point[2] = index if point[2] is None else point[2]

    change(logged, edit)
    assert [v.state for v in verify()] == ["same"]


def test_last_digit_of_a_number_is_a_difference(logged):
    def edit(kept):
        kept["metrics"][0][1] *= 1 + 1e-15

    change(logged, edit)
    (verification,) = verify()

    assert [(d.problem, d.expected, d.found) for d in verification.differences] == [
        ("missing", "1.0 at step 0", ""),
        ("extra", "", "1.000000000000001 at step 0"),
    ]


def compared(ours, theirs, **declared):
    points = [Metric("loss", *point) for point in (ours, theirs)]
    return differences(points[:1], points[1:], Capabilities(**declared))


def test_numbers_are_compared_in_32_bits_where_the_flavor_declares_them():
    third = struct.unpack("f", struct.pack("f", 1 / 3))[0]

    assert compared((1 / 3, 1, 5), (third, 1, 5))
    assert not compared((1 / 3, 1, 5), (third, 1, 5), number_bits=32)
    assert compared((1 / 3, 1, 5), (0.3334, 1, 5), number_bits=32)
    assert not compared((1e300, 1, 5), (math.inf, 1, 5), number_bits=32)


def test_times_are_compared_as_exactly_as_the_flavor_declares():
    sent = 1_700_000_000_123_456_789
    whole = sent // 10**6 * 10**6

    assert not compared((1.0, 1, sent), (1.0, 1, whole))
    assert compared((1.0, 1, sent), (1.0, 1, whole), time_resolution=1)
    assert compared((1.0, 1, sent), (1.0, 1, whole - 10**6))
    assert not compared((1.0, 1, sent), (1.0, 1, 0), time_resolution=None)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (1234567890, 1234567891),
        ("1234567890", "1234567891"),
        ("2024", "2024.0"),
        ("007", "7"),
        ("007", 7),
        (2**60, 2**60 + 1000),
        ("1e5", "100000"),
        ("nan", "NaN"),
        (None, ""),
        (1, True),
        (0, "False"),
        (3, 3.0),
        (0.1 + 0.2, "0.3"),
        (" x", "x"),
    ],
)
def test_values_that_look_alike_are_not_the_same(ours, theirs):
    assert not same_value(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(7, "7"), (True, "true"), (None, "None"), (None, "null"), (1e-05, "0.00001"), (3.0, 3)],
)
def test_value_may_be_kept_as_its_text(ours, theirs):
    assert same_value(ours, theirs)


def test_flavor_that_reads_nothing_back_and_one_that_fails_say_so(project, logged):
    project.add_tracker("local", Recorder)
    with start_run("mute", experiment_tracker="local"):
        pass
    (mute,) = verify("mute")
    logged.unlink()
    (gone,) = verify()

    assert (mute.state, mute.problem) == (
        "unreadable",
        "flavor 'recorder:Recorder' cannot read runs back",
    )
    assert gone.state == "unreadable"
    assert gone.problem.startswith("tracker_read_run: FileNotFoundError")


def test_tracker_that_has_no_such_run_is_answered_with_the_nearest(logged):
    (run,) = find_runs(find_project(), "whole")
    with pytest.raises(ConfigError, match="'whole' is not on experiment tracker 'filled'; did you"):
        verify_run(run, find_project(), "filled")


@pytest.mark.slow
def test_command_lists_differences_and_exits_with_1(project, logged):
    result = project.trackyard("runs", "verify", "whole")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "whole\tfiled\tsame\t217\t0\t1\n"

    change(logged, lambda kept: kept["metrics"].clear())
    result = project.trackyard("runs", "verify", "whole", "--tracker", "filed")
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert "whole on filed: metric 'loss' missing (100 points): 1 at step 0" in lines

    (row,) = json.loads(project.trackyard("runs", "verify", "whole", "--json").stdout)
    assert (row["state"], row["differences"][0]["key"]) == ("different", "loss")
    result = project.trackyard("runs", "verify", "whole", "--tracker", "field")
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)


def test_names_cannot_move_the_cursor(project):
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    with start_run("\x1b[2Jx", experiment_tracker="filed") as run:
        run.log_param("\x1b[2J", 1)
    (file,) = (project.root / "filed").iterdir()
    change(file, lambda kept: kept["params"].clear())
    result = project.trackyard("runs", "verify", run.id)

    assert result.returncode == 1
    assert "\x1b" not in result.stdout + result.stderr


def test_tracker_that_hangs_holds_nobody_and_is_asked_once(project):
    project.add_tracker("stuck", HangingReader, directory=str(project.root / "filed"))
    for _ in range(2):
        with tracked_step(pipeline="training", step="train", run="first") as run:
            run.log_metric("loss", 1.0)
    begun = time.monotonic()
    done = project.trackyard("runs", "verify", run.id, "--timeout", "0.1", "--json")
    (row,) = json.loads(done.stdout)

    assert (done.returncode, row["state"]) == (1, "unreadable")
    assert row["problem"] == (
        f"no answer within 0.1 s; give it more time, "
        f"type: trackyard runs verify {run.id} --timeout 0.4"
    )
    first, second = verify_runs(find_project(), group_id("training", "first"), timeout=0.1)
    assert first.problem.startswith("no answer within 0.1 s")
    assert second.problem == "not asked, since it has not answered for another run"
    assert time.monotonic() - begun < 60


def test_numbers_that_are_none_and_infinite_ones_are_told_apart():
    values = [math.nan, math.inf, -math.inf, math.nan, 1.0]
    ours = [Metric("a", v, None, 1_000_000 * i + i) for i, v in enumerate(values)]
    theirs = [Metric("a", p.value, 0, p.timestamp // 1_000_000 * 1_000_000) for p in ours]
    able = Capabilities(time_resolution=1_000_000)

    assert differences(ours, theirs, able) == []
    assert differences(ours, theirs[::-1], able) == []
    (missing,) = differences(ours, theirs[:2] + theirs[3:], able)
    assert (missing.problem, missing.expected) == ("missing", "-inf")


@pytest.mark.parametrize("step", [3, None, 0.5, 2**60, -(10**30)])
@pytest.mark.parametrize("value", [math.nan, 1.5, 2**60 + 1])
def test_points_are_gathered_as_they_are(step, value):
    points = [Metric("a", value, step, moment) for moment in (1, 10**30)]
    gathered = Gathered.of([*points, Tag("t", "x"), Metric("b", 0.0, 1, 1)])

    assert repr([*gathered.metrics["a"]]) == repr(points)
    assert (gathered.count, [*gathered.metrics], gathered.tags) == (4, ["a", "b"], {"t": "x"})


@pytest.mark.parametrize("step", [0, None])
def test_of_points_that_share_all_with_one_before_a_difference_one_stands_for_all(step):
    points = [Metric("a", 1.0, step, 5), Metric("a", 1.0, step, 5), Metric("a", 2.0, 1, 6)]
    there = [Metric("a", 1.0, 0, 5), points[2]]

    assert differences(points, there, Capabilities()) == []
    (extra,) = differences(points[:1], [points[0], points[2]], Capabilities())
    assert (extra.problem, extra.found) == ("extra", "2 at step 1")


def test_points_that_are_compared_take_few_bytes_each():
    count = 20_000

    def points():
        return (Metric("a", n / 7, n, n) for n in range(count))

    tracemalloc.start()
    try:
        assert differences(points(), Gathered.of(points()), Capabilities()) == []
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 60 * count
