"""Does the Neptune flavor keep the contract, offline and on a compatible server?"""

from __future__ import annotations

import base64
import json

import pytest

from trackyard import current_run
from trackyard.testing import FlavorSuite

# What the SDK collects by itself is no affair of the suite's.
QUIETLY = {
    "capture_stdout": False,
    "capture_stderr": False,
    "capture_hardware_metrics": False,
    "capture_traceback": False,
    "source_files": [],
    "git_ref": False,
}


class TestNeptuneOffline(FlavorSuite):
    @pytest.fixture
    def config(self):
        return {"flavor": "neptune", "mode": "offline"}

    @pytest.fixture
    def log_natively(self):
        return native_log()


class TestNeptuneOnline(FlavorSuite):
    # The server lives in this process. Other ones would import the SDK for seconds, for each check:
    # they write offline above, and test_tracker.py has one that is killed, and uploaded.
    backend_outlives_process = False

    @pytest.fixture
    def config(self, server, monkeypatch):
        return table(monkeypatch, server.url)

    @pytest.fixture
    def config_for_server(self, monkeypatch):
        return lambda url: table(monkeypatch, url)

    @pytest.fixture
    def log_natively(self):
        return native_log()


def native_log():
    """Log as code does that begins a run of Neptune's and keeps it."""
    import neptune

    made = {}

    def log(key, value):
        run = current_run()
        if run.id not in made:
            made[run.id] = neptune.init_run(**QUIETLY)
        made[run.id][key].append(value)

    return log


def table(monkeypatch, url):
    """A token names its server."""
    content = {"api_address": url, "api_url": url, "api_key": "key"}
    token = base64.b64encode(json.dumps(content).encode()).decode()
    monkeypatch.setenv("TOKEN_OF_NEPTUNE", token)
    fields = {"project": "acme/fraud", "api_token": "env:TOKEN_OF_NEPTUNE", "mode": "online"}
    return {"flavor": "neptune", **fields}
