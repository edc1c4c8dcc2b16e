"""Which command serves MLflow's own page, and which address opens a run there?"""

from __future__ import annotations

import sys
from collections.abc import Mapping


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


def url_of(ids: Mapping[str, str], uri: str, port: int, workspace: str | None) -> str | None:
    """Give the address that opens a run in MLflow's page, or None where nobody knows its host.

    Args:
        ids: As `ids_of` gives them.
        uri: The store's address.
        port: Where the page of a database is served.
        workspace: The URL of Databricks.
    """
    host, path = uri if uri.startswith("http") else f"http://127.0.0.1:{port}", "/#"
    # Later releases show an experiment as one of language models unless they are told.
    view = "?workflowType=machine_learning"
    if uri.startswith("databricks"):
        host, path, view = workspace or "", "/ml", ""
    address = f"{path}/experiments/{ids['experiment_id']}/runs/{ids['run_id']}{view}"
    return host.rstrip("/") + address if host else None
