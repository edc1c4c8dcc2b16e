"""Do SDKs keep apart that tests of several flavors import into one process?

A plugin of pytest. Comet's SDK, which tensorboardX imports, patches MLflow, and makes an experiment
of its own for each of MLflow's runs.
"""

from __future__ import annotations

import os


def pytest_configure() -> None:
    os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")
