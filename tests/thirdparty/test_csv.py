"""Does a flavor that is not of this repository work when it is installed, by both of its names?

`trackyard-csv` is the package of the page "Write a flavor".
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from matrices import first_by_default

from trackyard import Client

PACKAGE = Path(__file__).parent / "trackyard-csv"
PAGE = Path(__file__).parents[2] / "docs/write-a-flavor.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = """
from trackyard import log_metric, log_params, log_text, pipeline, step

@step(experiment_tracker="mine")
def train():
    log_params({"rate": 0.1})
    for epoch in range(3):
        log_metric("loss", 1 / (epoch + 1), step=epoch)
    log_text("notes", "notes.txt")

@step(experiment_tracker="mine")
def broken():
    raise ValueError("no good")

@pipeline
def training():
    train()
    broken()

try:
    training()
except ValueError:
    pass
"""


@pytest.mark.parametrize("reference", first_by_default(["csv", "trackyard_csv:CsvTracker"]))
def test_steps_are_tracked_by_it(csv_installed, tmp_path, reference, monkeypatch):
    (tmp_path / "program.py").write_text(PROGRAM)
    csv_installed.succeed(
        "trackyard", "experiment-tracker", "register", "mine", "--flavor", reference,
        "--directory", "runs", folder=tmp_path,
    )  # fmt: skip

    csv_installed.succeed("python", "program.py", folder=tmp_path)

    monkeypatch.chdir(tmp_path)
    (run,) = Client().list_pipeline_runs()
    for name, status in {"train": "finished", "broken": "failed"}.items():
        url = str(run.steps[name].run_metadata["experiment_tracker_url"].value)
        with Path(url.removeprefix("file://")).open(newline="") as file:
            rows = [tuple(row) for row in csv.reader(file)]
        assert ("Tag", "trackyard.status", json.dumps(status)) in rows
        losses = [row[2:4] for row in rows if row[1] == "loss"]
        assert losses == (
            [("1.0", "0"), ("0.5", "1"), (repr(1 / 3), "2")] if name == "train" else []
        )
    (kept,) = tmp_path.glob("runs/*/notes.txt")
    assert kept.read_text() == "notes"


def test_it_is_listed_and_described(csv_installed, tmp_path):
    command = ["trackyard", "experiment-tracker", "flavor"]
    listed = json.loads(
        csv_installed.succeed(*command, "list", "--load", "--json", folder=tmp_path)
    )
    (ours,) = [row for row in listed if row["name"] == "csv"]

    assert (ours["distribution"], ours["status"]) == ("trackyard-csv", "ready")
    described = csv_installed.succeed(*command, "describe", "csv", folder=tmp_path)
    assert "Write each run to a CSV file." in described


@pytest.mark.slow
def test_its_author_runs_the_suite(csv_installed):
    """Both ways: the test file of the package, and the command without one."""
    options = ["-q", "-p", "no:cacheprovider", "-c", "pyproject.toml"]  # not this repository's
    suite = csv_installed.succeed("pytest", *options, folder=PACKAGE)
    command = ["trackyard", "experiment-tracker", "flavor", "check", "csv", "--json"]
    only = ["--only", "metrics_are_kept", "--only", "entry_point"]
    checked = json.loads(csv_installed.succeed(*command, *only, folder=PACKAGE))

    assert int(re.search(r"(\d+) passed", suite)[1]) > 90
    assert [check["outcome"] for check in checked] == ["passed", "passed"]


def test_a_run_of_another_flavor_can_be_replayed_into_it(csv_installed, tmp_path):
    (tmp_path / "program.py").write_text(
        "from trackyard import start_run\n"
        "with start_run('baseline', experiment_tracker=None) as run:\n"
        "    run.log_metric('loss', 0.5, step=3)\n"
        "print(run.id)"
    )
    (tmp_path / "trackyard.toml").write_text(
        '[experiment_trackers.mine]\nflavor = "csv"\ndirectory = "runs"\n'
    )
    run_id = csv_installed.succeed("python", "program.py", folder=tmp_path).strip()

    csv_installed.succeed("trackyard", "replay", run_id, "--to", "mine", folder=tmp_path)

    text = (tmp_path / f"runs/{run_id}.csv").read_text()
    assert "Metric,loss,0.5,3," in text


def test_the_page_shows_each_of_its_files():
    """Every block that begins with a path is that file, to the last letter."""
    shown = {}
    for _, block in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        first = block.partition("\n")[0]
        if re.fullmatch(r"# [\w./]+\.(py|toml)", first) and (PACKAGE / first[2:]).is_file():
            shown[first[2:]] = block
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".toml")]

    assert sorted(shown) == sorted(path.relative_to(PACKAGE).as_posix() for path in files)
    for name, block in shown.items():
        assert block == (PACKAGE / name).read_text(encoding="utf-8"), name


def test_it_has_under_80_lines():
    (module,) = (PACKAGE / "src").rglob("*.py")

    assert len(module.read_text(encoding="utf-8").splitlines()) < 80
