"""Does the SwanLab flavor keep the contract?"""

from __future__ import annotations

import pytest

from trackyard.testing import FlavorSuite

pytest.importorskip("trackyard_swanlab", reason="it is in no default group")


class TestSwanlab(FlavorSuite):
    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "swanlab", "directory": str(tmp_path / "swanlog")}
