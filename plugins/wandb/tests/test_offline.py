"""Is a run that is offline a whole file of W&B's, which `trackyard sync` uploads?"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path

import pytest
from left_behind import assert_left_as_it_was
from matrices import first_by_default

from trackyard import Artifact, Batch, Client, Metric, Param, Tag, start_run
from trackyard_wandb import WandbTracker
from trackyard_wandb.logfile import read_log
from trackyard_wandb.places import place_of
from trackyard_wandb.records import items_of, parse, read_run
from trackyard_wandb.writing import End, RunFile, marker_of

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000004000000030802000000")


def test_portable_calls_are_records_of_wandb(offline):
    with start_run("baseline", tags={"team": "a"}) as run:
        run.log_metrics({"loss": 0.5, "accuracy": 1}, step=1)
        run.log_metric("loss", float("nan"), step=2)
        run.log_metric("without", 3)
        run.log_params({"rate": 0.1, "name": "base"})
        run.set_tag("note", "text")
        run.log_image(PNG, "plots/a.png", step=2)
        run.log_table({"x": [1, 2]}, "rows.json")
        run.log_text("<b>x</b>", "page.html")
        run.log_text("plain", "deep/plain.txt")

    found = offline.file()
    assert found.run.run_id == run.id
    assert (found.run.entity, found.run.project) == ("acme", "fraud")
    assert found.run.display_name == "baseline"
    assert found.values("accuracy") == [(1, 1)]
    assert [row["_step"] for row in found.rows] == list(range(6))
    assert found.rows[0].keys() == {
        "loss", "accuracy", "trackyard_step", "_step", "_timestamp", "_runtime"
    }  # fmt: skip
    assert str(found.values("loss")) == "[(1, 0.5), (2, nan)]"
    assert found.values("without") == [(None, 3)]
    assert found.axes["loss"] == found.axes["plots/a.png"] == "trackyard_step"
    assert "without" not in found.axes
    config = found.config
    assert (config["rate"], config["name"]) == (0.1, "base")
    assert config["tags"] == {"team": "a", "note": "text"}
    assert config["trackyard"] == {"run_id": run.id, "attempt": "1", "status": "finished"}
    assert found.exit_codes == [0]
    ((_, image),) = found.values("plots/a.png")
    assert (image["_type"], image["width"], image["height"]) == ("image-file", 4, 3)
    assert (image["format"], image["size"]) == ("png", len(PNG))
    assert found.file(image["path"]) == PNG
    ((_, table),) = found.values("rows.json")
    assert (table["_type"], table["ncols"], table["nrows"]) == ("table-file", 1, 2)
    assert json.loads(found.file(table["path"])) == {"columns": ["x"], "data": [[1], [2]]}
    ((_, page),) = found.values("page.html")
    assert page["_type"] == "html-file"
    assert found.file(page["path"]) == b"<b>x</b>"
    assert found.file("deep/plain.txt") == b"plain"
    named = {file.path for record in found.records for file in record.files.files}
    assert {"deep/plain.txt", image["path"], table["path"], page["path"]} <= named


def test_nested_params_are_nested_in_the_config(offline):
    with start_run("baseline") as run:
        run.log_params({"opt": {"lr": 0.1, "adam": {"eps": 1e-8}}, "roc_lr0.01": 1, "tags.x": 2})
        run.log_params({"opt": 3})

    config = offline.file().config
    assert config["opt"] == {"lr": 0.1, "adam": {"eps": 1e-8}, "": 3}
    assert (config["roc_lr0.01"], config["tags.x"]) == (1, 2)
    assert [row.state for row in Client().verify_run(run.id)] == ["same"]


def test_a_param_that_is_written_keeps_its_place_in_the_config(make_run):
    run = make_run()
    file = new_file(run)
    for number, key in enumerate(("rate", "rate.decay", "opt.lr", "opt"), 1):
        file.send(Batch(params=(Param(key, number),), first_sequence=number, last_sequence=number))
    file.close()

    params = {r.key: r.value for r in read_run(file.path) if isinstance(r, Param)}
    assert params == {"rate": 1, "rate.decay": 2, "opt.lr": 3, "opt": 4}
    config = items_of(item for data, _ in read_log(file.path) for item in parse(data).config.update)
    shown = {key: config[key] for key in ("rate", "rate.decay", "opt")}
    assert shown == {"rate": 1, "rate.decay": 2, "opt": {"lr": 3, "": 4}}


def test_what_a_machine_uses_stands_on_wandbs_own_page_of_that(offline):
    with start_run("baseline") as run:
        run.log_metrics({
            "system/cpu_utilization_percentage": 12.5,
            "system/gpu_1_power_usage_watts": 150.0,
            "system/gpu_1_memory_usage_megabytes": 2.0,
            "system/process_count": 3,
            "loss": 1.0,
        })  # fmt: skip

    found = offline.file()
    ours = "gpu.1.powerWatts"  # W&B's SDK may have looked at the machine by itself
    (stats,) = [r.stats for r in found.records if ours in [item.key for item in r.stats.item]]
    assert {item.key: json.loads(item.value_json) for item in stats.item} == {
        "cpu": 12.5,
        "gpu.1.powerWatts": 150.0,
        "gpu.1.memoryAllocatedBytes": 2e6,
    }
    assert stats.timestamp.ToNanoseconds() > 0
    assert found.values("system/process_count") == [(None, 3)]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(ValueError, "failed", 1), (KeyboardInterrupt, "killed", 130), (SystemExit, "failed", 1)],
)
def test_the_exit_code_says_how_a_run_ended(offline, error, status, code):
    with pytest.raises(error), start_run("bad"):
        raise error("no good")

    assert offline.file().exit_codes == [code]
    assert offline.file().config["trackyard"]["status"] == status
    assert "no good" in offline.file().config["trackyard"]["failure"]


def test_settings_of_a_step_are_laid_over_and_tags_joined(project):
    project.configure(mode="offline", tags=["always"], job_type="train", group="all")

    own = {"tags": ["once"], "project": "other", "entity": "else", "group": "few"}
    with start_run("a", settings={"team": own}):
        pass

    said = project.file().run
    assert list(said.tags) == ["always", "once"]
    assert (said.entity, said.project) == ("else", "other")
    assert (said.run_group, said.job_type) == ("few", "train")


def test_names_are_those_of_wandb(project):
    project.configure(mode="offline", project="a/b: c?#%", tags=["x" * 64])
    with start_run("x" * 300):
        pass

    assert project.file().run.project == "a-b-c"
    assert project.file().run.display_name == "x" * 128


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tags", ["x" * 65]),
        ("tags", [""]),
        ("settings", {"run_id": "mine"}),
        ("mode", "sometimes"),
        ("run_id_strategy", "none"),
    ],
)
def test_a_wrong_value_is_refused(field, value):
    with pytest.raises(ValueError):
        WandbTracker(**{field: value})


def test_a_metric_may_have_the_name_of_a_column_of_wandb(offline):
    names = ["_step", "_timestamp", "_step_", "trackyard_step", "step_"]
    with start_run("a") as run:
        for number, name in enumerate(names):
            run.log_metric(name, number, step=7)

    rows = offline.file().rows
    assert [row["_step"] for row in rows] == list(range(5))
    assert {row["trackyard_step"] for row in rows} == {7}


def test_what_is_read_back_is_what_was_logged(offline, make_run):
    with start_run("a", tags={"team": "a"}) as run:
        run.log_metric("loss", float("inf"), step=1)
        run.log_metric("_step", 0.25, step=2.5)
        run.log_param("rate", 0.5)
        run.log_text("hello", "deep/hello.txt")
        run.log_image(PNG, "a.png", step=3)

    read = list(WandbTracker(mode="offline").tracker_read_run(make_run(run.id), None))
    points = [(r.key, r.value, r.step) for r in read if isinstance(r, Metric)]
    assert points == [("loss", float("inf"), 1), ("_step", 0.25, 2.5)]
    assert Param("rate", 0.5) in read
    assert Tag("team", "a") in read
    assert Tag("trackyard.status", "finished") in read
    files = {r.name: (r.kind, r.path.read_bytes(), r.step) for r in read if isinstance(r, Artifact)}
    assert files["deep/hello.txt"] == ("file", b"hello", None)
    assert files["a.png"] == ("image", PNG, 3)


def new_file(run):
    names = dict.fromkeys(("entity", "project", "group", "job_type"))
    return RunFile(run, place_of(run, **names, tags=[], shares_id=False))


def points(first, last):
    metrics = [Metric("a", float(n), n, 10**18 + n * 1000) for n in range(first, last)]
    return Batch.of(tuple(metrics), first, last - 1)


def test_a_run_that_is_continued_has_each_point_once(project, make_run):
    first = new_file(make_run())
    first.send(points(0, 10))
    first.close()
    path = first.path
    os.truncate(path, path.stat().st_size - 3)  # killed in a write: the last record is torn

    second = new_file(make_run(attached=True))
    second.send(points(5, 20))
    second.finish(End("finished"), None)
    second.finish(End("finished"), None)
    second.close()

    found = project.file()
    assert found.values("a") == [(n, n) for n in range(20)]
    assert [row["_step"] for row in found.rows] == list(range(20))
    numbers = [record.num for record in found.records]
    assert numbers == sorted(set(numbers))
    assert len(found.exit_codes) == 1


def test_a_batch_that_comes_again_with_more_is_there_once(project, make_run):
    file = new_file(make_run())
    file.send(points(0, 10))
    file.send(points(0, 10))
    file.send(points(0, 15))
    file.send(points(15, 20))
    file.close()

    assert project.file().values("a") == [(n, n) for n in range(20)]


def test_records_that_come_after_the_end_are_before_it_in_the_file(project, make_run):
    """Core sends the end first where records keep failing, and then both again."""
    run, team = make_run(), WandbTracker(mode="offline")
    team.tracker_start_run(run)
    team.tracker_log(run, points(0, 3))
    team.tracker_end_run(run)
    marker_of(project.file().path).touch()  # as if it were uploaded
    team.tracker_end_run(run)
    assert marker_of(project.file().path).exists()

    team.tracker_start_run(run)
    team.tracker_log(run, points(3, 6))
    team.tracker_end_run(run)
    assert project.file().values("a") == [(n, n) for n in range(6)]
    assert project.file().records[-1].HasField("exit")
    assert project.file().exit_codes == [0]
    assert not marker_of(project.file().path).exists()


def test_points_of_one_moment_are_all_kept(project, make_run):
    file = new_file(make_run())
    same = tuple(Metric(key, value, 1, 10**18) for key in "ab" for value in (1.0, 2.0))
    file.send(Batch.of(same, 1, 4))
    file.close()

    assert sorted(project.file().values("a")) == [(1, 1), (1, 2)]
    assert sorted(project.file().values("b")) == [(1, 1), (1, 2)]


def test_overlapping_runs_are_both_whole(offline):
    with start_run("a") as first, start_run("b") as second:
        for number in range(10):
            first.log_metric("m", number, number)
            second.log_metric("m", -number, number)

    assert offline.file(first.id).values("m") == [(n, n) for n in range(10)]
    assert offline.file(second.id).values("m") == [(n, -n) for n in range(10)]


@pytest.mark.parametrize("kind", first_by_default(["refused", "hang", "no key"]))
def test_auto_is_offline_where_no_server_answers_and_sync_uploads_later(
    project, server, kind, caplog, monkeypatch
):
    project.configure(base_url=server.url)
    if kind == "hang":
        server.fault("hang")
    elif kind == "refused":
        server.stop()
    else:
        monkeypatch.delenv("WANDB_API_KEY")
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING):
        for name in ("first", "second"):
            with start_run(name) as run:
                run.log_metric("a", 1, step=3)
    if kind == "hang":
        assert time.monotonic() - begun < 20

    lines = [r.getMessage() for r in caplog.records if "offline" in r.getMessage()]
    assert len(lines) == 1
    assert ("no API key" if kind == "no key" else server.url) in lines[0]
    assert "trackyard sync" in lines[0]
    assert run.url == f"{server.url}/acme/fraud/runs/{run.id}"
    assert server.runs == {}
    if kind == "refused":
        server.start()
    server.mend()
    monkeypatch.setenv("WANDB_API_KEY", server.API_KEY)
    done = project.sync()
    assert done.returncode == 0, done.stdout + done.stderr
    found = server.named("second")
    assert found.values("a") == [(3, 1)]
    assert found.state == "finished"
    assert len(server.runs) == 2
    if kind == "refused":
        project.sync()
        assert found.values("a") == [(3, 1)]


@pytest.mark.slow
def test_twenty_steps_leave_the_process_as_it_was(offline):
    import wandb

    def steps(number):
        for index in range(number):
            try:
                with start_run("a") as run:
                    run.log_metric("a", index)
                    wandb.log({"native": index})
                    if index % 2:
                        raise ValueError("odd")
            except ValueError:
                pass

    hooks = (sys.excepthook, sys.exit)
    assert_left_as_it_was(steps, lambda: wandb.run)
    assert (sys.excepthook, sys.exit) == hooks
    assert not any(name.startswith("WANDB_SERVICE") for name in os.environ)
    codes = [offline.file(path.name).exit_codes for path in Path(".trackyard/runs").iterdir()]
    assert sorted(codes) == [[0]] * 11 + [[1]] * 11


def test_a_file_that_is_refused_costs_no_point_beside_it(offline, make_run, tmp_path):
    """Core sends the parts of a batch again, one of which is at fault."""
    wrong = tmp_path / "wrong.json"
    wrong.write_text("no histogram")
    points = [Metric("loss", step / 2, step, 10**18 + step * 1000) for step in range(4)]
    file = Artifact("wrong.json", wrong, "histogram", None, 1, 10**18)
    tracker, run = WandbTracker(mode="offline", project="fraud"), make_run()
    tracker.tracker_start_run(run)
    for records in ([*points, file], [*points[:2], file], points[:2], [*points[2:], file], points):
        batch = Batch.of(tuple(records), 1, 5)
        try:
            tracker.tracker_log(run, batch)
        except ValueError:
            assert file in records
    tracker.tracker_end_run(run)

    assert offline.file().values("loss") == [(step, step / 2) for step in range(4)]
    assert offline.file().axes["loss"] == "trackyard_step"
