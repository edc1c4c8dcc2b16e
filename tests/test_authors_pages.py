"""Do the pages for authors of flavors show what the code is, and miss none of it?"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from trackyard.testing import FlavorSuite, memory
from trackyard.testing.contract import failure_message
from trackyard.testing.running import check_flavor
from trackyard.testing.suite import checks_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/write-a-flavor.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def block_that_begins(page, first):
    found = [text for _, text in FENCE.findall(page.read_text(encoding="utf-8"))]
    (block,) = [text for text in found if text.startswith(first)]
    return block


def test_memory_tracker_is_quoted_from_its_source():
    source = Path(memory.__file__).read_text(encoding="utf-8")

    assert block_that_begins(PAGE, "# memory.py\n") == f"# memory.py\n{source}"


def test_failure_on_the_page_is_what_the_suite_says(tmp_path, monkeypatch):
    (tmp_path / "trackers.py").write_text(block_that_begins(PAGE, "# trackers.py\n"))
    monkeypatch.chdir(tmp_path)
    table = {"flavor": "trackers:CsvTracker", "directory": str(tmp_path / "runs")}

    (result,) = check_flavor(table, ["whole_life"])
    sys.modules.pop("trackers", None)  # other pages have a module of that name, too

    shown = block_that_begins(PAGE, "The contract says")
    assert shown == failure_message(result.sentence, result.reason) + "\n"


def test_every_name_that_a_subclass_may_set_is_in_the_table():
    text = PAGE.read_text(encoding="utf-8")
    own = [name for name in vars(FlavorSuite) if not name.startswith(("_", "test_", "workbench"))]

    assert "config" in own
    assert [name for name in own if f"| `{name}` |" not in text] == []


def test_checks_that_the_page_names_are_there():
    named = set(re.findall(r"test_\w+_are_\w+", PAGE.read_text(encoding="utf-8")))

    assert named <= set(checks_of(FlavorSuite))
    assert named
