"""Do the plugins of the page for authors pass the suite, as the page shows it?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trackyard.testing.running import run_file

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```python\n(# test_plugins.py\n.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_plugins_of_the_page_pass_the_suite(tmp_path, monkeypatch):
    (shown,) = FENCE.findall((ROOT / "docs/write-a-plugin.md").read_text(encoding="utf-8"))
    file = tmp_path / "test_plugins.py"
    file.write_text(shown, encoding="utf-8")
    monkeypatch.syspath_prepend(ROOT / "examples/company-plugins")
    monkeypatch.delenv("COMPANY_WEBHOOK", raising=False)

    results = run_file(file)

    assert [result for result in results if result.outcome not in ("passed", "skipped")] == []
    assert len([result for result in results if result.outcome == "passed"]) >= 8
