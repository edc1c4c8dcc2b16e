"""Does the Comet flavor keep the contract?"""

from __future__ import annotations

import pytest
from comet_server import CometServer

from trackyard.testing import FlavorSuite


@pytest.fixture(scope="module")
def shared_server():
    with CometServer() as server:
        yield server


class TestComet(FlavorSuite):
    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch, tmp_path):
        monkeypatch.setenv("COMET_API_KEY", CometServer.API_KEY)
        monkeypatch.setenv("COMET_CONFIG", str(tmp_path / "none"))

    @pytest.fixture
    def config(self, shared_server):
        place = {"workspace": "acme", "project": "fraud", "url": shared_server.url}
        return {"flavor": "comet", "mode": "online", **place}

    @pytest.fixture
    def config_for_server(self):
        return lambda url: {"flavor": "comet", "mode": "online", "url": url}

    @pytest.fixture
    def log_natively(self):
        import comet_ml

        return lambda key, value: comet_ml.get_global_experiment().log_metric(key, value)
