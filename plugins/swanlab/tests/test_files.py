"""Are a run's files those that SwanLab's SDK keeps offline?"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

reason = "it is in no default group; the long test of tests/thirdparty runs it"
store = pytest.importorskip("swanlab.sdk.internal.core_python.store", reason=reason)
from swanlab.proto.swanlab.record.v1.record_pb2 import Record  # noqa: E402

from trackyard.contract import Failure, Metric, Run  # noqa: E402
from trackyard_swanlab.files import RunFolder, file_of  # noqa: E402
from trackyard_swanlab.framing import HEADER, framed, read_framed  # noqa: E402


def of_the_sdk(path: Path) -> list[bytes]:
    """Read a file as SwanLab does."""
    reader = store.DataStoreReader()
    reader.open(path)
    with closing(reader):
        return list(reader)


@pytest.mark.parametrize("size", [0, 1, 32753, 32754, 32755, 32760, 32761, 40_000, 100_000])
def test_records_are_laid_out_as_the_sdk_lays_them_out(tmp_path, size):
    records = [b"a" * 7, bytes([size % 251]) * size, b"c"]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(HEADER + framed(records, len(HEADER)))
    writer = store.DataStoreWriter()
    writer.open(theirs)
    for record in records:
        writer.write(record)
    writer.close()

    assert ours.read_bytes() == theirs.read_bytes()
    assert of_the_sdk(ours) == records == [record for record, _ in read_framed(theirs)]


def test_sdk_reads_a_run_whose_end_was_torn_and_resumed(tmp_path):
    run = Run("a" * 32, "baseline", "fraud", 10**18, tmp_path, ended_at=10**18 + 1)
    folder = tmp_path / "run"
    RunFolder(folder, run).append([Metric("loss", 1.0, 0, 10**18)])
    path = file_of(folder, run)
    path.write_bytes(path.read_bytes() + b"torn")
    second = RunFolder(folder, run)
    second.append([Metric("loss", 1.0, 0, 10**18), Metric("loss", 0.5, 1, 10**18 + 5)])
    second.end(run, Failure("failed", "ValueError", "no"))
    RunFolder(folder, run).end(run, None)

    records = [Record.FromString(data) for data in of_the_sdk(path)]

    assert [r.scalar.value.number for r in records if r.HasField("scalar")] == [1.0, 0.5]
    assert [r.scalar.step for r in records if r.HasField("scalar")] == [0, 1]
    (end,) = [r.finish for r in records if r.HasField("finish")]
    assert (end.state, records[0].start.project, records[0].start.name) == (1, "fraud", "baseline")
