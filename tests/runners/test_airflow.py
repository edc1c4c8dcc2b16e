"""Does the recipe for Airflow track the tasks that it runs?"""

from __future__ import annotations

import pytest
from recipes import Recipe


@pytest.mark.slow(takes_long=True)
def test_airflow_dag_is_tracked_with_its_retry(airflow, tmp_path):
    recipe = Recipe(tmp_path, airflow)
    settings = {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    recipe.run("airflow", "db", "migrate", **settings)

    written = recipe.run("airflow", "dags", "test", "training", **settings)

    recipe.check()
    assert "state=success" in written
