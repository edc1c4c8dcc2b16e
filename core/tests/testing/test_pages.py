"""Does each check lead to a page, and a section, that is there?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trackyard.testing import FlavorSuite
from trackyard.testing.contract import checks_of
from trackyard.testing.pages import page_of

ROOT = Path(__file__).parents[3]
CHECKS = checks_of(FlavorSuite)


@pytest.mark.parametrize("name", CHECKS)
def test_check_leads_to_a_section_that_is_there(name):
    path, _, section = page_of(getattr(FlavorSuite, name).__module__, CHECKS[name]).partition("#")
    text = (ROOT / path).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert not section or section in slugs
