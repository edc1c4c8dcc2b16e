"""Does the MLflow flavor keep the contract?"""

from __future__ import annotations

import shutil
import sys

import pytest

from trackyard.testing import FlavorSuite


class TestMlflow(FlavorSuite):
    expected_failures = {"test_retry_after_is_passed_on": "MLflow's client tells no headers"}

    @pytest.fixture
    def config(self, tmp_path, empty_store):
        shutil.copyfile(empty_store, tmp_path / "mlflow.db")
        return {"flavor": "mlflow", "tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}

    @pytest.fixture
    def config_for_server(self):
        return lambda url: {"flavor": "mlflow", "tracking_uri": url}

    @pytest.fixture
    def server_url(self, mlflow_server):
        return mlflow_server.url

    @pytest.fixture
    def log_natively(self):
        import mlflow

        return mlflow.log_metric

    @pytest.fixture
    def native_program(self):
        return [sys.executable, "-c", "import mlflow; mlflow.log_metric('native', 2.0)"]
