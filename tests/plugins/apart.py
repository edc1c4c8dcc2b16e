"""Do tests of one process keep apart: their SDKs, and the folders that they import from?

A plugin of pytest. Comet's SDK, which tensorboardX imports, patches MLflow, and makes an experiment
of its own for each of MLflow's runs. A project's folder goes on `sys.path`, where each later test
would look for plugins in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest


def pytest_configure() -> None:
    os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")


@pytest.fixture(autouse=True)
def _folders_of_a_test_end_with_it() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before
