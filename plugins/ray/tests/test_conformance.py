"""Does Ray keep the contract of orchestrators?"""

from __future__ import annotations

import pytest

from trackyard.testing import OrchestratorSuite

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("only_cluster")]


class TestRay(OrchestratorSuite):
    """Each check's script has a cluster of its own, which takes most of the time."""

    @pytest.fixture
    def config(self):
        return {"orchestrator": "ray", "num_cpus": 3, "max_tasks": 8}
