"""Does Ray keep the contract of orchestrators?

Each check's script imports Ray and has workers of its own, or a cluster: `conftest.py` says which
checks are `slow`, and the rest is `long`.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from trackyard.testing import OrchestratorSuite


@pytest.mark.usefixtures("only_cluster")
class TestOwnCluster(OrchestratorSuite):
    """Each check's script starts one and ends it. Runs first, with no other cluster beside it."""

    patience = 300.0

    @pytest.fixture
    def config(self):
        return {"orchestrator": "ray", "num_cpus": 2, "max_tasks": 4}


class TestSharedCluster(OrchestratorSuite):
    """Each check's script connects to the same one."""

    patience = 180.0
    expected_failures: ClassVar[dict[str, str]] = {
        "test_steps_begin_where_the_driver_is": "workers are as the cluster was when it began"
    }

    @pytest.fixture
    def config(self, cluster):
        return {"orchestrator": "ray", "address": cluster, "max_tasks": 4}
