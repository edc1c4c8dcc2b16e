# tests/test_conformance.py
import pytest

from trackyard.testing import FlavorSuite


class TestCsv(FlavorSuite):
    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "csv", "directory": str(tmp_path / "runs")}
