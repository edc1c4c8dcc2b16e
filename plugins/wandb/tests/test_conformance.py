"""Does the W&B flavor keep the contract?"""

from __future__ import annotations

import pytest
from wandb_server import WandbServer

from trackyard.testing import FlavorSuite

# W&B lists what is installed for each run, which takes a fifth of a second.
_QUICK = {"settings": {"x_save_requirements": False}}


class TestWandb(FlavorSuite):
    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch):
        monkeypatch.setenv("WANDB_API_KEY", WandbServer.API_KEY)

    @pytest.fixture
    def config(self):
        return {
            "flavor": "wandb",
            "mode": "offline",
            "entity": "acme",
            "project": "fraud",
            **_QUICK,
        }

    @pytest.fixture
    def config_for_server(self):
        return lambda url: {"flavor": "wandb", "mode": "online", "base_url": url}

    @pytest.fixture
    def import_place(self, workbench):
        return str(workbench.project.home / "runs")  # its files; the project is a server's

    @pytest.fixture
    def log_natively(self):
        import wandb

        return lambda key, value: wandb.log({key: value})
