"""Do commands of other people work when they are installed from wheels, and keep the contract?

`company-commands` is the package of the page "Write a command"; `trackyard-statuses` was written
from that page alone.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/company-commands"
STATUSES = Path(__file__).parent / "trackyard-statuses"
PAGE = ROOT / "docs/write-a-command.md"
PROGRAM = """
import time
from trackyard import start_run

for name, seconds in {"short": 0, "long": 0.3}.items():
    with start_run(name, experiment="timing", experiment_tracker=None) as run:
        run.log_metric("seconds", seconds)
        time.sleep(seconds)
try:
    with start_run("bad", experiment="timing", experiment_tracker=None) as run:
        run.log_metric("seconds", 0)
        raise ValueError("no good")
except ValueError:
    pass
"""


@pytest.fixture(scope="module")
def installed(environment):
    for package in (EXAMPLE, STATUSES):
        environment.install_wheel_of(package)
    return environment


@pytest.fixture(scope="module")
def folder(installed, tmp_path_factory):
    """Give a project with three runs."""
    folder = tmp_path_factory.mktemp("timed")
    (folder / "trackyard.toml").write_text("[stacks.default]\n")
    (folder / "program.py").write_text(PROGRAM)
    installed.succeed("python", "program.py", folder=folder)
    return folder


def test_the_example_shows_what_took_longest(installed, folder):
    rows = json.loads(installed.succeed("trackyard", "slowest", "2", "--json", folder=folder))

    assert len(rows) == 2
    assert rows[0]["name"] == "long"
    table = installed.succeed("trackyard", "slowest", folder=folder)
    assert table.startswith("long\tfinished\t")


def test_the_strangers_command_counts(installed, folder):
    rows = json.loads(installed.succeed("trackyard", "statuses", "list", "--json", folder=folder))
    shown = json.loads(
        installed.succeed("trackyard", "statuses", "show", "timing", "--json", folder=folder)
    )

    assert {(row["pipeline"], row["status"]): row["runs"] for row in rows} == {
        ("timing", "failed"): 1,
        ("timing", "finished"): 2,
    }
    assert shown == {"failed": 1, "finished": 2}
    wrong = installed.run("trackyard", "statuses", "show", "zebra", folder=folder)
    assert wrong.returncode == 1
    assert wrong.stderr == "Error: no run of 'zebra'; type: trackyard statuses list\n"


def test_both_stand_in_the_help(installed, folder):
    shown = installed.succeed("trackyard", "--help", folder=folder)
    _, plugins = shown.split("Commands of plugins:\n")

    assert "(company-commands 1.0)" in plugins
    assert "How the runs of each pipeline ended (trackyard-statuses 0.3.0)." in plugins


def test_they_pass_the_suite(installed, tmp_path):
    (block,) = re.findall(
        r"^```python\n(from trackyard.testing.*?)^```$", PAGE.read_text(), re.M | re.S
    )
    (tmp_path / "test_example.py").write_text(block)
    shutil.copy(STATUSES / "tests/test_conformance.py", tmp_path)
    text = installed.succeed("pytest", "-q", folder=tmp_path)

    assert int(re.search(r"^(\d+) passed", text, re.MULTILINE)[1]) == 2 * 11
    assert "failed" not in text


def test_their_authors_need_no_private_name_and_few_lines(installed):
    for module in (EXAMPLE / "company_commands.py", STATUSES / "trackyard_statuses.py"):
        text = module.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 60
        assert {*re.findall(r"from (trackyard\S*) import", text)} <= {
            "trackyard",
            "trackyard.contract",
        }
        installed.succeed("mypy", "--strict", str(module), folder=module.parent)


def test_the_page_shows_each_file_of_the_example():
    fence = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    blocks = fence.findall(PAGE.read_text(encoding="utf-8"))

    for name in ("pyproject.toml", "company_commands.py"):
        (shown,) = [block for block in blocks if block.startswith(f"# {name}\n")]
        assert shown == (EXAMPLE / name).read_text(encoding="utf-8")
