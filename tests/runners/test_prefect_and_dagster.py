"""Do the recipes for Prefect and Dagster track the steps that these engines run?"""

from __future__ import annotations

import pytest
from recipes import Recipe


@pytest.mark.slow(takes_long=True)
def test_prefect_flow_is_tracked_with_its_retry(prefect_and_dagster, tmp_path):
    recipe = Recipe(tmp_path, prefect_and_dagster)
    settings = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    }

    recipe.run("python", "prefect_flow.py", **settings)

    recipe.check()


@pytest.mark.slow
def test_dagster_job_is_tracked_with_its_retry(prefect_and_dagster, tmp_path):
    recipe = Recipe(tmp_path, prefect_and_dagster)

    recipe.run("python", "-c", "import jobs; assert jobs.training.execute_in_process().success")

    recipe.check()
