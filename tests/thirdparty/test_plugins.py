"""Do plugins for every tracker work when they are installed: a notifier and a redactor?

They are those of the page "Write a plugin for every tracker".
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from recording_server import Answer, RecordingServer

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples/company-plugins"
PROGRAM = """
from trackyard import log_params, pipeline, set_tag, step

@step(experiment_tracker=["first", "second"])
def train():
    log_params({"owner": "kim@example.com", "rate": 0.1})
    set_tag("asked", "ann@example.com and bob@example.com")
    raise ValueError("no data")

@pipeline
def training():
    train()

training()
"""


class Webhook(RecordingServer):
    def answer(self, request):
        return Answer(b"ok")


@pytest.fixture(scope="module")
def ran(csv_installed, tmp_path_factory):
    """A failed pipeline run on two trackers, and what arrived at the webhook."""
    csv_installed.install_wheel_of(PACKAGE)
    folder = tmp_path_factory.mktemp("ran")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "trackyard.toml").write_text(
        '[experiment_trackers.first]\nflavor = "csv"\ndirectory = "first"\n'
        '[experiment_trackers.second]\nflavor = "csv"\ndirectory = "second"\n'
    )
    with Webhook() as server:
        done = csv_installed.run(
            "python", "program.py", folder=folder, COMPANY_WEBHOOK=f"{server.url}/hook"
        )
        assert "ValueError: no data" in done.stderr
        return folder, [request.json for request in server.requests]


def test_failed_run_is_told_once_however_many_trackers_it_has(ran):
    _, posted = ran

    assert posted == [{"text": "training/train failed: ValueError: no data"}]


def test_addresses_reach_neither_trackers_nor_the_journal(ran):
    folder, _ = ran
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del written[folder / "program.py"]
    tracked = [text for path, text in written.items() if path.suffix == ".csv"]

    assert sum(b"<address> and <address>" in text for text in tracked) == 2
    assert all(b'"0.1"' in text or b"rate,0.1" in text for text in tracked)
    assert [path for path, text in written.items() if b"example.com" in text] == []


def test_plugins_are_listed(ran, csv_installed):
    listed = json.loads(csv_installed.succeed("trackyard", "plugins", "--json", folder=ran[0]))
    names = {row["name"] for row in listed if row["distribution"] == "company-plugins"}

    assert names == {"company-notifier", "company-redactor"}


def test_the_page_shows_each_of_its_files():
    fence = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    blocks = fence.findall((ROOT / "docs/write-a-plugin.md").read_text(encoding="utf-8"))

    for name in ("pyproject.toml", "company_plugins.py"):
        (shown,) = [block for block in blocks if block.startswith(f"# {name}\n")]
        assert shown == (PACKAGE / name).read_text(encoding="utf-8")
