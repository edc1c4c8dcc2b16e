"""Are a run's files those that DVCLive writes?"""

from __future__ import annotations

import json

import pytest

files = pytest.importorskip("trackyard_dvclive.files", reason="it is in no default group")
from trackyard.contract import Metric  # noqa: E402


def test_a_point_is_a_row_and_comes_once(tmp_path):
    run = files.RunFiles(tmp_path)
    points = [Metric("train/loss", 0.5, 3, 1_000_000_000_000), Metric("train/loss", 0.25, 4, 1_500)]
    run.append(points)
    run.append(points)
    files.RunFiles(tmp_path).append(points)

    text = (tmp_path / "plots/metrics/train/loss.tsv").read_text()

    assert text == "timestamp\tstep\tloss\n1000000\t3\t0.5\n0.001500\t4\t0.25\n"
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"train": {"loss": 0.25}}
    assert [r for r in files.read_records(tmp_path) if isinstance(r, Metric)] == points


def test_a_torn_row_is_written_again(tmp_path):
    path = tmp_path / "plots/metrics/loss.tsv"
    files.RunFiles(tmp_path).append([Metric("loss", 1.0, 0, 10**6)])
    path.write_bytes(path.read_bytes() + b"2\t1")

    files.RunFiles(tmp_path).append([Metric("loss", 1.0, 0, 10**6), Metric("loss", 2.0, 1, 10**6)])

    assert path.read_text().splitlines()[1:] == ["1\t0\t1.0", "1\t1\t2.0"]


@pytest.mark.parametrize("key", ["../up", "a//b", ".hidden", "x" * 300, "what?", "tab\tkey", "/"])
def test_a_key_that_is_no_name_of_a_file_stays_inside_and_itself(tmp_path, key):
    folder = tmp_path / "run"
    files.RunFiles(folder).append([Metric(key, 1.0, 0, 0)])

    (found,) = [r for r in files.read_records(folder) if isinstance(r, Metric)]

    assert found.key == key
    assert list(tmp_path.iterdir()) == [folder]


def test_last_values_are_a_tree_also_where_a_key_is_a_folder(tmp_path):
    run = files.RunFiles(tmp_path)
    run.append([Metric("loss", 1.0, 0, 0), Metric("loss/train", float("nan"), 0, 0)])

    found = json.loads((tmp_path / "metrics.json").read_text())

    assert found == {"loss": 1.0, "loss/train": "nan"}
