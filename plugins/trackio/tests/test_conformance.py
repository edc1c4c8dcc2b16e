"""Does the Trackio flavor keep the contract, in a folder and on a server?"""

from __future__ import annotations

import pytest

from trackyard.testing import FlavorSuite


class TestTrackio(FlavorSuite):
    @pytest.fixture
    def config(self, tmp_path):
        return {"flavor": "trackio", "folder": str(tmp_path / "trackio")}

    @pytest.fixture
    def config_for_server(self):
        return lambda url: {"flavor": "trackio", "server_url": url}

    @pytest.fixture
    def log_natively(self):
        import trackio

        return lambda key, value: trackio.log({key: value})
