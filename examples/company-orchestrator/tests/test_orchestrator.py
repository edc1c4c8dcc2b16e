# tests/test_orchestrator.py
import pytest

from trackyard.testing import OrchestratorSuite


class TestCommand(OrchestratorSuite):
    @pytest.fixture
    def config(self):
        return {"orchestrator": "command", "prefix": ["nice"], "places": 2}
