"""Do the pages for authors of flavors show what the code is, and miss none of it?"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest

from trackyard.contract import hookspecs
from trackyard.testing import FlavorSuite, memory
from trackyard.testing.base import Suite
from trackyard.testing.contract import checks_of, failure_message
from trackyard.testing.running import check_flavor

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/write-a-flavor.md"
PAGES = ROOT / "docs/reference/hooks"
HOOKS = [name for name in vars(hookspecs) if name.startswith("tracker_")]
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
    names = {**vars(Suite), **vars(FlavorSuite)}
    own = [name for name in names if not name.startswith(("_", "test_", "workbench"))]

    assert "config" in own
    assert [name for name in own if f"| `{name}` |" not in text] == []


def test_checks_that_the_page_names_are_there():
    named = set(re.findall(r"test_\w+_are_\w+", PAGE.read_text(encoding="utf-8")))

    assert named <= set(checks_of(FlavorSuite))
    assert named


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_page_with_its_arguments_and_an_example(hook):
    """Who calls it, when, on which thread, what it returns and may raise; how it is written."""
    page = PAGES / f"{hook}.md"
    text = page.read_text(encoding="utf-8")
    arguments = list(inspect.signature(getattr(hookspecs, hook)).parameters)
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (.+) \|$", text, re.MULTILINE))
    section = re.search(r"^## Arguments\n\n(.*?)^## Example\n", text, re.MULTILINE | re.DOTALL)[1]

    assert text.startswith(f"# {hook}({', '.join(arguments)})\n")
    assert set(rows) == {"called by", "when", "thread", "returns", "may raise"}
    assert re.findall(r"^\* `(\w+)`: \S.+\.$", section, re.MULTILINE) == arguments
    assert arguments or section.strip() == "None."
    (example,) = [block for _, block in FENCE.findall(text) if f" def {hook}(" in block]
    taken = re.search(rf"@hookimpl\n +def {hook}\(self(.*?)\):", example)[1]
    assert taken == "".join(f", {argument}" for argument in arguments)


def test_there_is_no_page_of_a_hook_that_is_not_there_and_the_index_has_all():
    pages = {page.stem for page in PAGES.glob("*.md")} - {"index"}
    linked = re.findall(r"\[(\w+)\]\((\w+)\.md\)", (PAGES / "index.md").read_text())

    assert pages == set(HOOKS)
    assert sorted(linked) == sorted((hook, hook) for hook in HOOKS)
