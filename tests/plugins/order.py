"""In which order do files of tests run, and which never side by side?

A plugin of pytest, for pytest-xdist's workers. A file that takes long in few tests begins early:
the last one would keep a single core busy. Files of Ray's tests run in one worker, one after the
other, for this machine has one cluster at a time and the other workers would wait for it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

import pytest
from xdist.scheduler import LoadFileScheduling


class FileScheduling(LoadFileScheduling):
    """Gives a worker a file at a time, or all of Ray's."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def scope(nodeid: str) -> str:
    """Give what is run as a whole in one worker: a test's file, or `ray`."""
    file = nodeid.partition("::")[0]
    path = PurePath(file)
    return "ray" if path.name == "test_ray.py" or "plugins/ray/" in path.as_posix() else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Take xdist's own place where its schedule is by files."""
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put first what takes long, then files of many tests; the order within a file stays."""
    if not hasattr(config, "workerinput"):
        return
    counts = Counter(scope(item.nodeid) for item in items)
    long = {scope(item.nodeid) for item in items if _takes_long(item)}
    items.sort(key=lambda item: (scope(item.nodeid) not in long, -counts[scope(item.nodeid)]))


def _takes_long(item: pytest.Item) -> bool:
    return any(mark.kwargs.get("takes_long") for mark in item.iter_markers("slow"))
