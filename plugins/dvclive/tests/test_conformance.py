"""Does the DVCLive flavor keep the contract?"""

from __future__ import annotations

import pytest

from trackyard.testing import FlavorSuite

pytest.importorskip("trackyard_dvclive", reason="it is in no default group")


class TestDvclive(FlavorSuite):
    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "dvclive", "directory": str(tmp_path / "live")}
