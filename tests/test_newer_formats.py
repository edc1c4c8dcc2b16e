"""What is said of a project that a newer version wrote: that, and what to type, never "none"."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from matrices import first_by_default

from trackyard import Client
from trackyard.contract.errors import NewerFormatError, OutputError
from trackyard.journal.frames import encode_frame, next_frame, salt_of

UPGRADE = "type: pip install --upgrade trackyard"
NEWER = "was written by a newer Trackyard"


def raise_number(file: Path) -> None:
    """Give a file of JSON a number that nobody knows."""
    values = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**values, "format": 99}), encoding="utf-8")


def with_newer_description(folder: Path) -> None:
    raise_number(folder / "run.json")


def with_newer_delivery(folder: Path) -> None:
    for file in folder.glob("*/delivery.json"):
        raise_number(file)


def with_newer_frames(folder: Path) -> None:
    """Have each frame begin as one of another format does."""
    for file in folder.glob("*.tyj"):
        lines = file.read_bytes().split(b"\n")
        file.write_bytes(b"\n".join(line.replace(b"~1 ", b"~2 ", 1) for line in lines))


def with_newer_entries(folder: Path) -> None:
    """Have the first entry of each file say that the others are of another format."""
    for file in folder.glob("*.tyj"):
        writer, _, number = file.name.removesuffix(".tyj").rpartition(".")
        salt = salt_of(folder.name, writer, int(number))
        data = file.read_bytes()
        frame = next_frame(data, 0, salt)
        assert frame is not None
        header = frame.payload.replace(b'"format":"1.0"', b'"format":"9.0"')
        assert header != frame.payload
        file.write_bytes(encode_frame(frame.sequence, header, salt) + data[frame.end :])


OF_A_RUN = [with_newer_description, with_newer_delivery, with_newer_frames, with_newer_entries]


@pytest.mark.parametrize("raising", OF_A_RUN)
def test_a_run_that_a_newer_version_wrote_is_said_to_be_newer(old_project, raising, caplog):
    client = Client()
    folder = old_project.root / ".trackyard" / "runs" / client.get_run("failed").id
    raising(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    for command in (
        "runs show failed",
        "runs compare failed ranked",
        "runs export failed --format json",
        "runs verify failed",
        "replay failed --to ranks",
    ):
        result = old_project.type(*command.split())
        assert (result.exit_code, NEWER in result.output) == (1, True), (command, result.output)
        assert UPGRADE in result.output
    for call in (
        lambda: client.get_run("failed"),
        lambda: client.compare_runs("failed", "ranked"),
        lambda: client.export_runs("failed", file="run.csv"),
        lambda: client.replay_run("failed", "ranks"),
    ):
        with pytest.raises(NewerFormatError, match=UPGRADE):
            call()
    if raising is not with_newer_delivery:  # nothing of it stands in a list
        caplog.clear()
        listed = {run.name for run in client.list_runs()}
        assert "failed" not in listed
        assert "ranked" in listed
        assert f"1 run(s) are left out, each {NEWER}" in caplog.text
        with pytest.raises(NewerFormatError, match=UPGRADE):
            client.plan_replay("failed", "ranks")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("raising", first_by_default(OF_A_RUN))
def test_sync_leaves_a_newer_run_says_so_and_delivers_the_others(old_project, raising):
    (old_project.root / "open").touch()
    client = Client()
    folder = old_project.root / ".trackyard" / "runs" / client.get_run("unseen").id
    raising(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    rows = old_project.json("sync", code=1)

    (left,) = (row for row in rows if row["state"] == "incomplete")
    assert left["id"] == folder.name
    assert NEWER in left["problem"]
    assert UPGRADE in left["problem"]
    states = {(row["run"], row["tracker"]): row["state"] for row in rows if row is not left}
    assert states == {
        ("pending", "ledger"): "complete",
        ("pending", "away"): "complete",
        ("die", "ledger"): "complete",
        ("die", "away"): "complete",
        ("offline", "keeper"): "uploaded",
        ("baseline", "ledger"): "refused",
        ("baseline", "ranks"): "refused",
    }
    assert {path: path.read_bytes() for path in before} == before
    assert [row.state for row in client.sync()] == ["incomplete", "refused", "refused"]
    doctor = client.doctor()
    assert any(NEWER in finding.text for finding in doctor.problems)
    (kept,) = (run for run in client.collect_garbage(older_than=0) if run.id == folder.name)
    assert (kept.state, UPGRADE in kept.reason) == ("kept", True)


@pytest.mark.parametrize("raising", [with_newer_description, with_newer_delivery])
def test_what_a_newer_run_lacks_is_neither_forgotten_nor_accepted(old_project, raising):
    (old_project.root / "open").touch()
    assert {row.state for row in Client().sync()} > {"refused"}  # from here on nothing is pending
    folder = old_project.root / ".trackyard" / "runs" / Client().get_run("baseline").id
    raising(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    for arguments, code in ((), 1), (("--refused",), 1), (("--accept",), 0):
        (left,) = old_project.json("sync", *arguments, code=code)
        assert (left["id"], left["state"]) == (folder.name, "incomplete")
        assert (NEWER in left["problem"], UPGRADE in left["problem"]) == (True, True)
        assert {path: path.read_bytes() for path in before} == before


def test_what_an_sdk_keeps_of_a_newer_run_is_left_and_said(old_project):
    client = Client()
    raise_number(
        old_project.root / ".trackyard" / "runs" / client.get_run("offline").id / "run.json"
    )

    rows = old_project.json("sync", "--patience", "0", code=1)

    assert [row["problem"] for row in rows if UPGRADE in row["problem"]] != []
    assert "uploaded" not in old_project.kept("keeper")["offline"]


def test_a_newer_store_is_said_to_be_newer(old_project):
    with closing(sqlite3.connect(old_project.root / ".trackyard" / "store.db")) as store, store:
        store.execute("INSERT INTO schema_version (version) VALUES (99)")

    for command in (
        "runs list",
        "runs show failing-",
        "runs compare baseline failed",
        "runs export baseline --format csv",
        "runs verify nightly-monday",
        "run training.py:training",
        "doctor",
        "sync --patience 0",
    ):
        result = old_project.type(*command.split())
        assert (result.exit_code, NEWER in result.output) == (1, True), (command, result.output)
        assert UPGRADE in result.output
    client = Client()
    for call in (
        client.list_runs,
        client.list_pipeline_runs,
        client.list_outputs,
        lambda: client.get_pipeline_run("failing"),
        lambda: client.get_output("training.train.mean"),
        lambda: client.get_run("baseline"),
    ):
        with pytest.raises(NewerFormatError, match=UPGRADE):
            call()


def test_a_newer_mark_of_a_driver_is_said_to_be_newer(old_project):
    (mark,) = (old_project.root / ".trackyard" / "drivers").glob("*.json")
    raise_number(mark)

    rows = old_project.json("sync", "--patience", "0", code=1)

    (left,) = (row for row in rows if row["id"] == mark.stem)
    assert (NEWER in left["problem"], UPGRADE in left["problem"]) == (True, True)
    assert mark.exists()
    (finding,) = (f for f in Client().doctor().problems if f.subject == str(mark))
    assert (NEWER in finding.text, finding.advice) == (True, UPGRADE)


def test_a_newer_layout_is_said_to_be_newer_before_anything_is_read_or_written(old_project):
    home = old_project.root / ".trackyard"
    (home / "format").write_text("99\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}

    for command in ("runs list", "sync", "gc", "doctor", "runs show baseline", "stack list"):
        result = old_project.type(*command.split())
        assert (result.exit_code, NEWER in result.output) == (1, True), (command, result.output)
        assert UPGRADE in result.output
    with pytest.raises(NewerFormatError, match=UPGRADE):
        Client()
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_an_output_of_a_newer_format_says_what_to_type_and_is_made_again(old_project):
    """A format's name is its number: `values` that change become `values-2`."""
    old_project.json("runs", "list")  # the store is brought up to date
    with closing(sqlite3.connect(old_project.root / ".trackyard" / "store.db")) as store, store:
        store.execute("UPDATE outputs SET materializer = materializer || '-2'")

    with pytest.raises(OutputError, match=f"newer Trackyard wrote it, {UPGRADE}"):
        Client().get_output("training.train.mean").load()
