"""Do the orchestrators that come with core keep the contract?"""

from __future__ import annotations

import pytest

from trackyard.testing import OrchestratorSuite


@pytest.mark.slow  # nothing of it stands between a step and its caller
class TestLocal(OrchestratorSuite):
    @pytest.fixture
    def config(self):
        return {"orchestrator": "local"}


class TestProcess(OrchestratorSuite):
    @pytest.fixture
    def config(self):
        return {"orchestrator": "process", "max_workers": 2}
