"""In which order do files of tests run?

A plugin of pytest, for pytest-xdist's workers. A file that takes long in few tests begins early:
the last one would keep a single core busy.
"""

from __future__ import annotations

from collections import Counter

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put first what takes long, then files of many tests; the order within a file stays."""
    if not hasattr(config, "workerinput"):
        return
    counts = Counter(item.path for item in items)
    long = {item.path for item in items if _takes_long(item)}
    items.sort(key=lambda item: (item.path not in long, -counts[item.path]))


def _takes_long(item: pytest.Item) -> bool:
    return any(mark.kwargs.get("takes_long") for mark in item.iter_markers("slow"))
