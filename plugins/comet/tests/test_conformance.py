"""Does the Comet flavor keep the contract, on a server that keeps every point that arrives?"""

from __future__ import annotations

import pytest
from comet_server import CometServer

from trackyard.testing import FlavorSuite


def log_by_comet(key, value):
    import comet_ml

    comet_ml.get_global_experiment().log_metric(key, value)


class TestComet(FlavorSuite):
    @pytest.fixture
    def config(self, server, monkeypatch, tmp_path):
        monkeypatch.setenv("COMET_CONFIG", str(tmp_path / "none"))
        monkeypatch.setenv("COMET_API_KEY", CometServer.API_KEY)
        return table(server.url)

    @pytest.fixture
    def config_for_server(self):
        return table

    @pytest.fixture
    def server_url(self, server):
        return server.url

    @pytest.fixture
    def log_natively(self):
        return log_by_comet


def table(url):
    return {"flavor": "comet", "url": url, "workspace": "acme", "project": "p", "mode": "online"}
