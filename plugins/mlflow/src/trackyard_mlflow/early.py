"""How is a new run made before MLflow is imported, which takes seconds?

As MLflow's client makes it: by rows in an sqlite file whose schema is the one of the MLflow that is
installed, or by requests to a server. What is not plain gives None, and MLflow does it: a file that
is not there yet, another schema, a server that wants more than a password or a token.
"""

from __future__ import annotations

import base64
import os
import posixpath
import sqlite3
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trackyard.contract import KEEP, Run, Secret
from trackyard_mlflow.backend import (
    intend,
    is_new,
    note_made,
    parent_place,
    tags_at_start,
)
from trackyard_mlflow.sqlite_rows import plain_file
from trackyard_mlflow.stores import artifact_location

if TYPE_CHECKING:
    from requests import Session

# As MLflow's store writes it.
_INSERT_RUN = """
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,
    start_time, source_version, lifecycle_stage, artifact_uri, experiment_id)
VALUES (:run_uuid, :name, 'UNKNOWN', '', '', :user_id, 'RUNNING', :start_time, '', 'active',
    :artifact_uri, :experiment_id)
"""
_FIND_EXPERIMENT = """
SELECT experiment_id, artifact_location, lifecycle_stage, creation_time FROM experiments
WHERE workspace = 'default' AND (experiment_id = :experiment_id OR name = :name)
"""

# Seconds that a server may take for an answer.
_MOST_ANSWER = 3.0
# Variables by which MLflow's client sends headers that are not sent here.
_MORE = (
    "MLFLOW_WORKSPACE",
    "MLFLOW_ENABLE_WORKSPACES",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
)
_LONGEST_NAME, _LONGEST_LOCATION = 500, 2048


def make_run(
    run: Run, experiment: str, tags: Mapping[str, str], uri: str, environment: Mapping[str, Any]
) -> dict[str, str] | None:
    """Make a run that nobody has begun to make; give what `ids_of` gives, or None.

    Args:
        run: The run.
        experiment: The experiment's name.
        tags: Tags of the new run.
        uri: The store's address.
        environment: Credentials, as MLflow takes them.
    """
    is_plain = 0 < len(experiment) <= _LONGEST_NAME and experiment == experiment.strip()
    is_plain = is_plain and bool(run.name) and "mlflow.runName" not in {**tags, **run.tags}
    if not is_new(run) or not is_plain or any(os.environ.get(name) for name in _MORE):
        return None
    if uri.startswith("sqlite:///"):
        return _in_file(run, experiment, tags, uri)
    # With MLflow there, its client has a connection that is open.
    if uri.startswith("http") and not hasattr(sys.modules.get("mlflow"), "MlflowClient"):
        return _on_server(run, experiment, tags, uri, environment)
    return None


def _in_file(run: Run, experiment: str, tags: Mapping[str, str], uri: str) -> dict[str, str] | None:
    with plain_file(uri) as database:
        if database is None:
            return None
        database.execute("BEGIN IMMEDIATE")
        place = _experiment_in_file(database, run, experiment, uri)
        if place is None:
            return None
        own = tags_at_start(run, tags)
        row = _row(run, place, own)
        database.execute(_INSERT_RUN, row)
        database.executemany(
            "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
            [(k, v, row["run_uuid"]) for k, v in {**own, "mlflow.runName": run.name}.items()],
        )
        intend(run)
        database.execute("COMMIT")
    ids = {"run_id": row["run_uuid"], "artifact_uri": row["artifact_uri"]}
    return note_made(run, ids, place["ids"], experiment)


def _row(run: Run, place: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """Give what differs from run to run in the row of one."""
    id_ = uuid.uuid4().hex
    return {
        "run_uuid": id_,
        "name": run.name,
        "user_id": tags.get("mlflow.user", "unknown"),
        "start_time": run.started_at // 1_000_000,
        "artifact_uri": posixpath.join(place["location"], id_, "artifacts"),
        "experiment_id": int(place["ids"]["experiment_id"]),
    }


def _experiment_in_file(
    database: sqlite3.Connection, run: Run, name: str, uri: str
) -> dict[str, Any] | None:
    """Find or make an experiment; give its ids and its place for files."""
    known = parent_place(run, name)
    # Of a parent's experiment the id is known, which somebody may have renamed.
    which = {"experiment_id": known["experiment_id"] if known else None}
    which["name"] = None if known else name
    rows = database.execute(_FIND_EXPERIMENT, which).fetchall()
    if not rows and not known:
        now, location = time.time_ns() // 1_000_000, artifact_location(uri)
        if location is None or len(location) > _LONGEST_LOCATION:
            return None
        values = (name, location, "active", now, now)
        made = database.execute(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time,"
            " last_update_time) VALUES (?, ?, ?, ?, ?)",
            values,
        )
        rows = [(made.lastrowid, location, "active", now)]
    if len(rows) != 1 or rows[0][2] != "active" or not rows[0][1] or set("?#") & set(rows[0][1]):
        return None
    id_, location, _, created = rows[0]
    ids = {"experiment_id": str(id_), "experiment_created": str(created)}
    return {"ids": ids, "location": location}


def _on_server(
    run: Run, experiment: str, tags: Mapping[str, str], uri: str, environment: Mapping[str, Any]
) -> dict[str, str] | None:
    import requests

    said = {name: _said(environment, name) for name in environment}
    with requests.Session() as session:
        session.headers.update(_headers(said))
        if (said.get("MLFLOW_TRACKING_INSECURE_TLS") or "").lower() in ("true", "1"):
            session.verify = False
        elif authority := os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
            session.verify = authority
        api = _Api(session, f"{uri.rstrip('/')}/api/2.0/mlflow", min(_MOST_ANSWER, run.deadline))
        with suppress(requests.RequestException, ValueError, KeyError, TypeError):
            place = parent_place(run, experiment) or api.experiment(experiment)
            if place is None:
                return None
            own = tags_at_start(run, tags)
            intend(run)
            info = api.made(run, place["experiment_id"], own)
            ids = {"run_id": info["run_id"], "artifact_uri": info["artifact_uri"]}
            return note_made(run, ids, place, experiment)
    return None


class _Api:
    """The requests of MLflow's client that make a run."""

    def __init__(self, session: Session, base: str, seconds: float) -> None:
        self._session = session
        self._base = base
        self._seconds = seconds

    def experiment(self, name: str) -> dict[str, str] | None:
        """Find or make an experiment; None where MLflow's client has to look at it."""
        found = self._call("GET", "experiments/get-by-name", params={"experiment_name": name})
        if found is None:
            made = self._call("POST", "experiments/create", json={"name": name})
            if made is None:
                return None
            id_ = {"experiment_id": made["experiment_id"]}
            found = self._call("GET", "experiments/get", params=id_)
        if found is None or found["experiment"]["lifecycle_stage"] != "active":
            return None
        one = found["experiment"]
        created = str(one.get("creation_time"))
        return {"experiment_id": str(one["experiment_id"]), "experiment_created": created}

    def made(self, run: Run, experiment_id: str, tags: Mapping[str, str]) -> dict[str, Any]:
        """Make the run."""
        body = {
            "experiment_id": experiment_id,
            "user_id": tags.get("mlflow.user", "unknown"),
            "run_name": run.name,
            "start_time": run.started_at // 1_000_000,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        answer = self._call("POST", "runs/create", json=body) or {}
        info: dict[str, Any] = answer["run"]["info"]
        return info

    def _call(self, method: str, path: str, **content: Any) -> dict[str, Any] | None:
        """Ask; None where MLflow itself does not know what was asked for."""
        answer = self._session.request(
            method,
            f"{self._base}/{path}",
            timeout=self._seconds,
            allow_redirects=False,
            **content,
        )
        body = answer.json()
        if answer.status_code == 404 and body["error_code"] == "RESOURCE_DOES_NOT_EXIST":
            return None
        if answer.status_code != 200:
            raise ValueError(f"answered with {answer.status_code}")
        return dict(body)


def _said(environment: Mapping[str, Any], name: str) -> str | None:
    value = environment[name]
    if value is KEEP:
        return os.environ.get(name)
    return value.reveal() if isinstance(value, Secret) else value


def _headers(said: Mapping[str, str | None]) -> dict[str, str]:
    """Give the headers by which a server knows who comes, as MLflow's client sends them."""
    from importlib.metadata import version

    headers = {"User-Agent": f"mlflow-python-client/{version('mlflow-skinny')}"}
    user = said.get("MLFLOW_TRACKING_USERNAME")
    password = said.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        text = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {text}"
    elif token := said.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    return headers
