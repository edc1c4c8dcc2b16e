"""When do the tests of a Ray cluster run?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave them out of a run with coverage of every process: there a cluster was seen to hang."""
    if "COVERAGE_PROCESS_START" in os.environ:
        reason = "a Ray cluster hangs beside coverage of every process; type: pytest plugins/ray"
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason=reason))
