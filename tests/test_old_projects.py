"""Is what an older version left on disk read, delivered and ended by this one?

`old_projects/README.md` says how the projects are made.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy
import pandas
import polars
import pyarrow
import pytest
from looking import calls_for_runs, commands_for_runs

from trackyard import Client, TrackyardError
from trackyard.store import SCHEMA_VERSION

# By the beginning of its name.
STATUSES = {
    "baseline": "finished",
    "pending": "finished",
    "untracked": "finished",
    "ranked": "finished",
    "failed": "failed",
    "training-": "finished",
    "formats-": "finished",
    "failing-": "failed",
    "shell": "failed",
    "nightly-monday": "failed",
    "recovered": "crashed",
    "offline": "finished",
    "unseen": "crashed",
    "dying-": "running",  # nobody has told the store yet
}
AWAY = "tracker_start_run: ConnectionRefusedError: nobody answers"


def known_name(name: str) -> str:
    return next(known for known in STATUSES if name.startswith(known))


def test_every_command_and_call_that_looks_is_tried_here():
    tried = Path(__file__).read_text(encoding="utf-8")

    names = commands_for_runs()
    quoted = {command: '"' + command.replace(" ", '", "') + '"' for command in names}
    assert [command for command, text in quoted.items() if text not in tried] == []
    assert [call for call in calls_for_runs() if f"client.{call}" not in tried] == []


def test_list_has_every_run_with_its_status(old_project):
    listed = old_project.json("runs", "list")

    assert Counter((known_name(run["name"]), run["status"]) for run in listed) == Counter(
        [*STATUSES.items(), ("training-", "finished")]
    )
    client = Client()
    assert [run.name for run in client.list_runs()] == [run["name"] for run in listed]
    assert {r.name for r in client.list_runs(statuses=["crashed"])} == {"recovered", "unseen"}
    assert {r.name for r in client.list_runs("fraud", tracker="away")} == {"pending", "unseen"}
    assert old_project.type("runs", "list").stdout.count("\n") == len(listed)


def test_the_index_is_made_anew_from_the_journals(old_project):
    before = old_project.json("runs", "list")

    assert old_project.json("store", "rebuild")["unreadable"] == 0
    assert old_project.json("store", "upgrade")["format"] == SCHEMA_VERSION
    client = Client()
    assert [run.name for run in client.search_runs("metrics.loss = 2.0")] == ["failed"]
    assert client.count_runs("metrics.loss = 2.0") == 1
    assert "metrics.loss" in client.list_columns()
    after = old_project.json("runs", "list")
    known = ("id", "name", "status", "pipeline", "kind", "started_at", "ended_at")
    assert [[run[key] for key in known] for run in after] == [
        [run[key] for key in known] for run in before
    ]


def test_a_run_with_every_kind_of_record_is_shown(old_project):
    run = Client().get_run("baseline")

    (step,) = run.steps
    assert run.pipeline == "fraud"
    own = {"stage": "try", "owner": "ada", "surrogate": "\udc80"}
    assert {key: step.tags[key] for key in own} == own
    params = dict(step.params)
    assert params.pop("long") == "0123456789" * 120_000
    assert params == {"rate": 0.1, "layers": 2, "is_deep": True, "odd": math.inf, "none": None}
    assert run.curves["loss"].steps == [*range(1500)]
    assert run.curves["loss"].values == [1 / (step + 1) for step in range(1500)]
    assert math.isnan(run.curves["odd"].values[0])
    assert run.curves["infinite"].values == [-math.inf]
    names = ["texts/report.txt", "config.json", "words.json", "square.png", "weights.bin"]
    assert [*step.artifacts] == names
    health = [(h.tracker, h.delivered, h.quarantined, h.state) for h in step.health]
    assert health == [(name, 3015, 1, "complete") for name in ("ledger", "ranks")]
    assert run.url == f"https://ledger.example/{run.id}"
    assert old_project.json("runs", "show", "baseline")["id"] == run.id
    assert old_project.type("runs", "show", "baseline").exit_code == 0
    printed = old_project.type("runs", "logs", "baseline")  # runs kept nothing of it then
    assert (printed.exit_code, printed.stdout) == (0, "")


@pytest.mark.parametrize(
    ("name", "metrics", "error", "health"),
    [
        ("failed", {"loss": [2.0]}, "ZeroDivisionError: the rate is zero", {"ledger": (1, 0)}),
        ("pending", {"loss": [3.0]}, None, {"ledger": (2, 0), "away": (0, 2)}),
        ("offline", {"loss": [4.0]}, None, {"keeper": (1, 0)}),
        ("untracked", {"loss": [5.0]}, None, {}),
        ("shell", {"loss": [7.0]}, "ExitCode: the command ended with exit", {"ledger": (3, 0)}),
        ("recovered", {"loss": [6.0, 5.0, 4.0]}, "Crashed: its process", {"ledger": (4, 0)}),
        ("unseen", {"loss": [6.0, 5.0, 4.0]}, None, {"ledger": (0, 4), "away": (0, 4)}),
        (
            "ranked",
            {"own": [1.0], "of_rank": [0.5], "rank1/of_rank": [1.5], "forked": [2.0]},
            None,
            {"ledger": (3, 0), "ranks": (4, 0)},
        ),
    ],
)
def test_the_run_of_a_block_is_shown(old_project, name, metrics, error, health):
    client = Client()
    run = client.get_run(name)

    (step,) = run.steps
    assert (run.name, run.status, step.status) == (name, STATUSES[name], STATUSES[name])
    assert {key: curve.values for key, curve in run.curves.items()} == metrics
    assert (step.error or "").startswith(error or "")
    assert bool(step.error) == bool(error)
    assert {h.tracker: (h.delivered, h.pending) for h in step.health} == health
    shown = old_project.json("runs", "show", name)
    assert (shown["id"], shown["status"]) == (run.id, run.status)


def test_a_pipeline_run_is_shown_with_its_attempts_and_what_was_cached(old_project):
    client = Client()
    second, first = client.list_pipeline_runs("training")

    means = [0.25, 0.375, 0.4375, 0.46875, 0.484375]
    assert {name: step.status for name, step in second.steps.items()} == {
        "load": "cached",
        **dict.fromkeys(["train", "evaluate", "scale[0]", "scale[1]", "add_up"], "finished"),
    }
    assert second.steps["load"].run_metadata["cached_from"] == first.steps["load"].id
    assert [a.status for a in first.steps["evaluate"].attempts] == ["failed", "finished"]
    assert first.steps["evaluate"].attempts[0].error == "OSError: the first try fails"
    assert first.params == {"rate": 0.5, "rows": 4}
    assert first.steps["train"].curves["train/mean"].values == means
    assert client.get_pipeline_run(first.id).steps["add_up"].outputs["output"].load() == 2.0
    assert old_project.json("runs", "show", second.name)["steps"][0]["status"] == "cached"
    (failing,) = client.list_pipeline_runs("failing")
    assert {name: step.status for name, step in failing.steps.items()} == {
        "load": "cached",
        "train": "finished",
        "explode": "failed",
        "evaluate": "skipped",
    }
    assert failing.steps["explode"].error == "ValueError: the loss is not a number"
    nightly = client.get_run("nightly-monday")
    assert [(step.name, step.status) for step in nightly.steps] == [
        ("fetch", "finished"),
        ("fit", "failed"),
    ]


def test_outputs_of_every_format_are_loaded(old_project):
    client = Client()
    latest = {output.name: output for output in client.list_outputs()}

    made = {
        name.split(".")[1].removeprefix("make_"): artifact.load(trust=True)
        for name, artifact in latest.items()
        if name.startswith("formats.")
    }
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert made.pop("values") == {
        "tuple": (1, "a"),
        "set": {1, 2},
        "decimal": Decimal("0.10"),
        "moment": moment,
        "numpy": numpy.float32(0.5),
        "bytes": b"ab",
        "complex": 1 + 2j,
        3: 4,
    }
    frame = {"word": ["a", "b"], "count": [3, 5]}
    numpy.testing.assert_array_equal(
        made.pop("array"), numpy.arange(6, dtype="float32").reshape(2, 3), strict=True
    )
    pandas.testing.assert_frame_equal(made.pop("frame"), pandas.DataFrame(frame))
    series = pandas.Series([0.5, 1.5], index=["x", "y"], name="weights")
    pandas.testing.assert_series_equal(made.pop("series"), series)
    assert made.pop("polars").equals(polars.DataFrame(frame))
    assert made.pop("polars_series").equals(polars.Series("count", [3, 5]))
    assert made.pop("arrow").equals(pyarrow.table(frame))
    image = made.pop("image")
    assert (image.mode, image.size, image.getpixel((1, 1))) == ("RGB", (2, 2), (255, 0, 0))
    assert made.pop("file").read_text(encoding="utf-8") == "a file"
    assert (made.pop("folder") / "one.txt").read_text(encoding="utf-8") == "one"
    assert made == {
        "text": "a text, and a second line\n",
        "json": {"list": [1, 2.5, None, True], "text": "ä"},
        "bytes": bytes(range(256)),
        "pickle": Counter("abracadabra"),
    }
    means = [output.load(trust=True) for output in client.list_outputs("training.train.mean")]
    assert means == [pytest.approx(0.499995), 0.484375]
    assert client.get_output("training.train.mean", 1).load(trust=True) == 0.484375


def test_runs_are_compared_exported_and_named_by_their_address(old_project):
    client = Client()
    second, first = (run.name for run in client.list_pipeline_runs("training"))
    compared = client.compare_runs(first, second)
    assert ("rate", (0.5, 0.9)) in [(param.key, param.values) for param in compared.params]
    written = old_project.json("runs", "compare", first, second)
    assert written["params"][0]["values"] == [0.5, 0.9]

    exported = json.loads(
        old_project.type("runs", "export", "recovered", "--format", "json").stdout
    )
    points = exported[0]["points"]["loss"]
    assert [(point["step"], point["value"]) for point in points] == [(0, 6.0), (1, 5.0), (2, 4.0)]
    client.export_runs("ranked", first, file="runs.parquet")
    old_project.type("archive", "ranked", "--output", "runs.trackyard")
    assert client.archive_runs("ranked", file="again.trackyard") == 1
    assert Path("again.trackyard").read_bytes() == Path("runs.trackyard").read_bytes()
    assert len(pandas.read_parquet("runs.parquet")) > 10

    (row,) = old_project.json("runs", "download", "baseline", "weights.bin")
    weights = client.get_run("baseline").artifacts["weights.bin"]
    assert Path(row["path"]).read_bytes() == weights.read_bytes() != b""

    url = client.get_run_url("failed")
    assert url == f"https://ledger.example/{client.get_run('failed').id}"
    assert old_project.type("runs", "url", "failed").stdout.strip() == url


def test_runs_are_the_same_on_their_trackers(old_project):
    client = Client()
    for name in ("baseline", "ranked", "failed", "shell", "recovered"):
        assert {row.state for row in client.verify_run(name)} == {"same"}, name
    (row,) = old_project.json("runs", "verify", "failed")
    assert (row["tracker"], row["state"], row["differences"]) == ("ledger", "same", [])


def test_doctor_names_what_is_left_and_nothing_else(old_project):
    client = Client()
    problems = {(finding.subject, finding.text) for finding in client.doctor().problems}

    home = str(old_project.root / ".trackyard")
    refused = "it refused 1 record(s), which are quarantined"
    assert problems == {
        (home, "3 run(s) have not reached all of their trackers"),
        (home, "1 run(s) have ended, and the store does not have their ends yet"),
        ("ledger", refused),
        ("ranks", refused),
        (
            "away",
            "7 record(s) are pending: tracker_start_run: ConnectionRefusedError: nobody answers",
        ),
    }
    assert old_project.json("doctor", code=1)["is_well"] is False


def test_garbage_is_told_from_what_is_needed(old_project):
    client = Client()
    plan = old_project.json("gc", "--dry-run", "--older-than", "0")
    shown = old_project.type("gc", "--dry-run", "--older-than", "0").output
    assert "1: no tracker has it" in shown

    kept = {run["run"]: run["reason"] for run in plan if run["state"] == "kept"}
    assert kept == {
        "baseline": "ledger refused 1 record(s)",
        "pending": "away does not have all of it; type: trackyard sync",
        "offline": "keeper keeps it offline; type: trackyard sync",
        "unseen": "ledger does not have all of it; type: trackyard sync",
        "die": "ledger does not have all of it; type: trackyard sync",
    }
    assert {run["state"] for run in plan} == {"kept", "would be deleted"}
    done = client.collect_garbage(older_than=0)
    assert {run.run for run in done if run.state == "kept"} == {*kept}
    assert client.get_run("nightly-monday").status == "failed"
    assert {run.name for run in client.list_runs("fraud")} == {*kept, "untracked"} - {"die"}


def test_a_tracker_of_old_is_no_source_of_imports(old_project):
    client = Client()

    with pytest.raises(TrackyardError, match="cannot list runs"):
        client.import_runs("ledger")
    with pytest.raises(TrackyardError, match="cannot list runs"):
        client.verify_import("ledger")
    assert "cannot list runs" in old_project.type("import", "ledger").stderr


def test_a_replay_is_planned_and_made(old_project):
    client = Client()
    (plan,) = old_project.json("replay", "failed", "--to", "ranks", "--plan")
    assert (plan["state"], plan["metrics"], plan["lost"]) == ("new", 1, 0)
    assert client.plan_replay("baseline", "ranks")[0].state == "complete"

    (report,) = client.replay_run("failed", "ranks")

    assert report.is_complete
    kept = old_project.kept("ranks")["failed"]
    assert (kept["status"], kept["error"]) == ("failed", "ZeroDivisionError: the rate is zero")
    assert [point[:3] for point in kept["metrics"]] == [["loss", "2.0", 1]]
    assert kept["tags"]["trackyard.replayed_from"] == "ledger"


def test_sync_delivers_what_is_pending_ends_the_dead_and_uploads(old_project):
    assert Client().get_run("unseen").ended_at is None
    rows = old_project.json("sync", "--patience", "0", code=1)
    assert {(row["run"], row["tracker"]): row["state"] for row in rows} == {
        ("pending", "ledger"): "complete",
        ("pending", "away"): "incomplete",
        ("unseen", "ledger"): "complete",
        ("unseen", "away"): "incomplete",
        ("die", "ledger"): "complete",
        ("die", "away"): "incomplete",
        ("offline", "keeper"): "uploaded",
        ("baseline", "ledger"): "refused",
        ("baseline", "ranks"): "refused",
    }
    (old_project.root / "open").touch()

    client = Client()
    assert {row.state for row in client.sync() if row.run != "baseline"} == {"complete"}

    away, ledger = old_project.kept("away"), old_project.kept("ledger")
    assert {name: kept["status"] for name, kept in away.items()} == {
        "pending": "finished",
        "unseen": "crashed",
        "die": "crashed",
    }
    assert [point[:3] for point in away["pending"]["metrics"]] == [["loss", "3.0", 1]]
    report = away["pending"]["artifacts"]["report.txt"]["content"]
    assert bytes.fromhex(report) == b"kept until somebody answers"
    losses = [["loss", "6.0", 0], ["loss", "5.0", 1], ["loss", "4.0", 2]]
    assert [point[:3] for point in away["unseen"]["metrics"]] == losses
    assert [point[:3] for point in ledger["unseen"]["metrics"]] == losses
    assert away["unseen"]["error"].startswith("Crashed: its process ended without a word")
    assert old_project.kept("keeper")["offline"]["uploaded"] is True
    run = client.get_run("unseen")
    assert (run.status, run.ended_at is None) == ("crashed", False)
    (dying,) = client.list_pipeline_runs("dying")
    assert dying.status == "crashed"
    assert {name: step.status for name, step in dying.steps.items()} == {
        "load": "cached",
        "die": "crashed",
        "add_up": "skipped",
    }
    left = old_project.json("sync", code=1)
    assert {(row["run"], row["tracker"], row["state"]) for row in left} == {
        ("baseline", "ledger", "refused"),
        ("baseline", "ranks", "refused"),
    }
    client.accept_losses("baseline")
    assert old_project.json("sync") == []
    assert not [*(old_project.root / ".trackyard" / "pending").iterdir()]
    for name in ("pending", "unseen", "dying-"):
        assert {row.state for row in client.verify_run(full_name(client, name))} == {"same"}


def full_name(client: Client, begins: str) -> str:
    return next(run.name for run in client.list_runs() if run.name.startswith(begins))


def test_runs_are_annotated_after_their_end(old_project):
    client = Client()
    (sent,) = old_project.json("runs", "tag", "failed", "reviewed=yes")
    assert (sent["tracker"], sent["state"]) == ("ledger", "sent")
    old_project.json("runs", "note", "failed", "a note")
    old_project.json("runs", "rename", "failed", "renamed")
    client.set_tags("renamed", {"stage": "prod"})
    client.set_note("renamed", "another note")
    client.rename_run("renamed", "failed")
    view = client.get_run("failed")
    assert (view.name, view.note) == ("failed", "another note")
    assert {"reviewed": "yes", "stage": "prod"}.items() <= view.tags.items()


def test_a_run_that_has_ended_is_not_ended_by_hand(old_project):
    client = Client()
    assert "it is ended once" in old_project.type("runs", "end", "failed").stderr
    with pytest.raises(TrackyardError, match="it is ended once"):
        client.end_run("failed")


def test_runs_are_deleted(old_project):
    client = Client()
    assert old_project.type("runs", "delete", "failed", "--yes").exit_code == 0
    client.delete_run(full_name(client, "failing-"))

    names = {known_name(run.name) for run in client.list_runs()}
    assert names == {*STATUSES} - {"failed", "failing-"}


def test_configuration_is_shown(old_project):
    client = Client()
    stacks = {
        stack["name"]: stack["experiment_trackers"] for stack in old_project.json("stack", "list")
    }
    assert stacks == {"default": ["ledger"], "parallel": ["ledger"]}
    assert [stack.name for stack in client.list_stacks()] == [*stacks]
    assert client.active_stack.name == client.get_stack().name == "default"
    assert old_project.json("stack", "describe", "parallel")["orchestrator"] == "process"
    exported = old_project.type("stack", "export", "parallel").stdout
    assert exported.strip() == client.export_stack("parallel").strip()
    names = ["ledger", "away", "keeper", "ranks"]
    listed = old_project.json("experiment-tracker", "list")
    assert [tracker["name"] for tracker in listed] == names
    assert [tracker.name for tracker in client.list_experiment_trackers()] == names
    assert client.get_experiment_tracker("keeper").flavor == "ledger:Keeper"
    described = old_project.json("experiment-tracker", "describe", "away")
    assert described["flavor"] == "ledger:Ledger"
    shown = {value["key"] for value in old_project.json("config", "show")}
    assert shown == {value.key for value in client.show_config()}


def test_pipelines_run_on(old_project):
    """New runs stand beside the old ones, and the next versions of outputs follow theirs."""
    result = old_project.type("run", "training.py:training", "--rate", "0.1")

    assert result.exit_code == 0, result.output
    client = Client()
    assert len(client.list_pipeline_runs("training")) == 3
    assert client.get_output("training.train.mean").version == 3
    assert client.get_run("baseline").status == "finished"
