"""Does the plugin keep the contract of those that observe runs?"""

from __future__ import annotations

import pytest

from trackyard.testing import PluginSuite
from trackyard_system_metrics import SystemMetrics

pytestmark = pytest.mark.slow  # each check samples for a second


class TestSystemMetrics(PluginSuite):
    @pytest.fixture(autouse=True)
    def _own_folder(self, tmp_path, monkeypatch):
        """Share samples with nobody else, and often."""
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setenv("TRACKYARD_SYSTEM_METRICS_INTERVAL", "0.2")

    @pytest.fixture
    def plugin(self):
        return SystemMetrics()

    @pytest.fixture
    def patience(self):
        return 20.0
