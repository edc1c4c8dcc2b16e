"""Does a step keep its result where the remote artifact store is away when it ends?"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import boto3
import fsspec
import pytest
from s3_server import s3_environment, s3_server

from trackyard import Client, ConfigError, OutputError, pipeline, step
from trackyard.contract import Job, Outcome, run_packed
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.outputs.keeping import KeptOutputs
from trackyard.testing import FAULTS, Fault, FaultyProxy

STACK = "[stacks.default]\nartifact_store = 's3://kept/outputs'\n"


class Door:
    """What opens and shuts an S3: without its bucket it takes nothing."""

    def up(self):
        boto3.client("s3").create_bucket(Bucket="kept")

    def down(self):
        client = boto3.client("s3")
        with suppress(client.exceptions.NoSuchBucket):  # it is shut already
            for item in client.list_objects_v2(Bucket="kept").get("Contents", ()):
                client.delete_object(Bucket="kept", Key=item["Key"])
            client.delete_bucket(Bucket="kept")


@pytest.fixture(scope="module")
def bucket():
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(bucket, faults):
    with s3_environment(bucket):
        door = Door()
        door.up()
        (faults.root / "trackyard.toml").write_text(STACK)
        yield door
        door.down()


def trackyard(*words):
    command = [sys.executable, "-m", "trackyard", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows_of_sync():
    done = trackyard("sync", "--json")
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_o1_remote_store_that_takes_nothing_is_told_before_a_step_runs(s3, faults):
    (faults.root / "trackyard.toml").write_text(STACK.replace("kept", "no-such-bucket"))

    @step
    def never():
        pytest.fail("it was run")

    with pytest.raises(ConfigError, match=r"artifact_store s3://no-such-bucket/outputs: cannot be"):
        pipeline(never)()
    found = trackyard("doctor", "--connect")
    assert found.returncode == 1
    assert "problem\tartifact store\ts3://no-such-bucket/outputs" in found.stdout


@pytest.mark.slow
def test_o2_output_that_a_remote_store_does_not_take_waits_and_is_sent_by_sync(s3, faults, caplog):
    @step
    def first() -> list:
        s3.down()
        return [1, 2]

    @step
    def second(values: list) -> int:
        return sum(values)

    with caplog.at_level(logging.WARNING):
        run = pipeline(lambda: second(first()))()

    assert {name: found.status for name, found in run.steps.items()} == {
        "first": "finished",
        "second": "finished",
    }
    told = [record for record in caplog.records if "cannot be written" in record.getMessage()]
    assert len(told) == 1
    assert Client().get_output("second.output").load() == 3
    code, rows = rows_of_sync()
    assert code == 1
    assert [row["pending"] for row in rows if row["tracker"] == "artifact store"] == [1, 1]
    assert "bucket does not exist" in rows[0]["problem"]
    assert "2 output(s) wait for it" in trackyard("doctor").stdout
    trackyard("gc", "--older-than", "0s")
    first_kept, _ = KeptOutputs(faults.home)
    trackyard("sync", "--accept")
    code, rows = rows_of_sync()
    assert code == 0
    assert {row["state"] for row in rows if row["tracker"] == "artifact store"} == {"accepted"}
    assert "as somebody has accepted" in trackyard("doctor").stdout
    assert len(list(KeptOutputs(faults.home))) == 2
    assert first_kept.path.exists()

    s3.up()
    code, rows = rows_of_sync()

    assert code == 0
    assert [row["state"] for row in rows if row["tracker"] == "artifact store"] == ["uploaded"] * 2
    assert not (faults.home / "unsent").exists()
    assert Client().get_output("first.output").load() == [1, 2]


@pytest.mark.slow
def test_o3_output_that_waits_is_sent_by_a_later_step(s3, faults):
    @step
    def first() -> int:
        s3.down()
        return 1

    @step
    def second(value: int) -> int:
        s3.up()
        return value + 1

    run = pipeline(lambda: second(first()))()

    assert not (faults.home / "unsent").exists()
    assert run.steps["first"].outputs["output"].load() == 1


class Elsewhere:
    """Runs steps as a machine does that does not see the driver's project."""

    places = 1
    is_elsewhere = True
    server: Door

    def run(self, job: Job) -> Outcome:
        folder = Path("worker", job.run.id)
        folder.mkdir(parents=True)
        packed = job.pack()
        self.server.down()
        return job.unpack(run_packed(packed, shipped=lambda: nullcontext(folder)))

    def stop(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.slow
def test_o4_output_of_a_step_elsewhere_comes_to_the_driver_and_who_needs_it_is_told(
    s3, faults, monkeypatch
):
    monkeypatch.setitem(sys.modules, "elsewhere", sys.modules[__name__])
    monkeypatch.setattr(Elsewhere, "server", s3, raising=False)
    toml = f"{STACK}orchestrator = 'elsewhere:Elsewhere'\n"
    (faults.root / "trackyard.toml").write_text(toml)

    @step
    def first() -> list:
        return [1, 2]

    @step
    def second(values: list) -> int:
        return sum(values)

    with pytest.raises(OutputError, match=r"is not in the artifact store yet.* trackyard sync"):
        pipeline(lambda: second(first()))()

    steps = Client().list_pipeline_runs()[0].steps
    assert {name: found.status for name, found in steps.items()} == {
        "first": "finished",
        "second": "failed",
    }
    assert steps["first"].outputs["output"].load() == [1, 2]
    s3.up()
    assert rows_of_sync()[0] == 0
    assert steps["first"].outputs["output"].load() == [1, 2]


@pytest.mark.slow
def test_o5_what_waits_goes_to_no_store_that_the_configuration_does_not_name(s3, faults):
    kept = KeptOutputs(faults.home)
    store = ArtifactStore("s3://kept/elsewhere", kept=kept)
    s3.down()
    store.save("run/value", 1)
    s3.up()

    code, rows = rows_of_sync()

    assert code == 1
    assert "no stack names s3://kept/elsewhere" in rows[0]["problem"]
    assert len(list(kept)) == 1


@pytest.fixture
def proxied(bucket, faults, monkeypatch):
    """A proxy before the S3, to which files go in parts of 5 MiB."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {"default_block_size": 5 << 20})
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with FaultyProxy(bucket) as proxy, s3_environment(proxy.url):
        door = Door()
        door.up()
        (faults.root / "trackyard.toml").write_text(STACK)
        yield proxy
        proxy.mend()
        door.down()


AWAY = {
    "503": (FAULTS["503"], "PUT .*/outputs/.*output"),
    "denied": (FAULTS["403"], "PUT .*/outputs/.*output"),
    "cut off": (FAULTS["closed before"], "PUT .*/outputs/.*output"),
    "hanging": (Fault("delay", seconds=600.0), "(PUT|POST) .*/outputs/.*output"),
    "gone in the middle": (FAULTS["closed before"], "PUT .*partNumber="),
    "hanging in the middle": (Fault("delay", seconds=600.0), "PUT .*partNumber="),
    "not finished": (FAULTS["503"], "POST .*uploadId="),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", AWAY)
def test_o6_output_survives_a_store_that_fails_while_it_is_sent(
    proxied, faults, how, monkeypatch, caplog
):
    monkeypatch.setattr("trackyard.outputs.punctual.STALLED", 2.0)
    large = bytes(range(256)) * (12 << 12)

    @step
    def first() -> bytes:
        proxied.fault(*AWAY[how])
        return large

    @step
    def second(value: bytes) -> int:
        return len(value)

    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        run = pipeline(lambda: second(first()))()

    assert time.monotonic() - began < 300  # the hanging answers take 600 s
    assert {found.status for found in run.steps.values()} == {"finished"}
    assert sum("outputs are kept in" in text for text in caplog.messages) == 1
    assert Client().get_output("first.output").load() == large
    waiting = [kept.stored.uri for kept in KeptOutputs(faults.home)]
    assert any("first" in uri or "output" in uri for uri in waiting)

    proxied.mend()
    code, rows = rows_of_sync()

    assert (code, {row["state"] for row in rows}) == (0, {"uploaded"})
    assert not (faults.home / "unsent").exists()
    assert Client().get_output("first.output").load() == large


@pytest.mark.slow
def test_o6_store_that_hangs_holds_up_one_step_and_not_each(proxied, faults, monkeypatch):
    monkeypatch.setattr("trackyard.outputs.punctual.STALLED", 2.0)
    proxied.fault(Fault("delay", seconds=600.0), "PUT .*/outputs/.*output")

    @step
    def one(number: int) -> int:
        return number

    def many():
        for number in range(20):
            one(number)

    run = pipeline(many)()

    assert {found.status for found in run.steps.values()} == {"finished"}
    assert len(list(KeptOutputs(faults.home))) == 20
    asked = [line for line, _ in proxied.passed if line.startswith("PUT") and "output" in line]
    assert len(asked) < 5
