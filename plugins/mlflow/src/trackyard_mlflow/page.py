"""Which command serves MLflow's own page?"""

from __future__ import annotations

import sys


def ui_command(tracking_uri: str, host: str, port: int) -> list[str] | None:
    """Give the command; None where a server serves the page already.

    Args:
        tracking_uri: The store.
        host: Address to listen on.
        port: Port to listen on.
    """
    if tracking_uri.startswith(("http", "databricks")):
        return None
    # Jobs, which serve LLM features, cost 8 more processes and 1.8 GB.
    command = ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"]
    command += [sys.executable, "-P", "-m", "mlflow", "server", "--workers", "1"]
    return [*command, "--backend-store-uri", tracking_uri, "--host", host, "--port", str(port)]
