"""Is what tests import compiled, so that hundreds of programs do not do it one by one?

A plugin of pytest. Python does it by itself, unless `PYTHONDONTWRITEBYTECODE` is set: then our own
code, which no installer has compiled, would cost each program that a test starts a tenth of a
second, and the tests themselves each worker of pytest-xdist ten.
"""

from __future__ import annotations

import compileall
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pytest_configure(config: pytest.Config) -> None:
    """Compile what has changed, before pytest-xdist's workers start."""
    if sys.dont_write_bytecode and not hasattr(config, "workerinput"):
        for folder in [*ROOT.glob("core/src"), *ROOT.glob("plugins/*/src")]:
            compileall.compile_dir(folder, quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep test modules as pytest has rewritten them, for the next run and a worker that lags."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = before
