"""Which fields does the MLflow flavor have, and what does it do at each hook?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from trackyard.contract import (
    KEEP,
    Batch,
    Capabilities,
    Capture,
    Failure,
    ImportNote,
    MetricPoints,
    Record,
    RemoteRun,
    RetryLater,
    Run,
    RunQuery,
    Secret,
    flavor,
    home,
    hookimpl,
    option,
    secret,
)
from trackyard_mlflow import native
from trackyard_mlflow.backend import (
    connected,
    delete_run,
    experiment_of,
    find_or_create_run,
    ids_of,
    is_made_anew,
    own_tags,
    read_ids,
    send,
    writing,
)
from trackyard_mlflow.early import make_run
from trackyard_mlflow.ending import end_run
from trackyard_mlflow.importing import Reader, reader_of
from trackyard_mlflow.kinds import ARTIFACT_PATTERN
from trackyard_mlflow.page import ui_command, url_of
from trackyard_mlflow.reading import read_records
from trackyard_mlflow.reopening import reopened
from trackyard_mlflow.stores import sqlite_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient


def _embedded_store() -> str:
    """Sqlite in `.trackyard/`."""  # in the docs, as the default
    # Absolute: MLflow's own default is relative to the working directory of the moment.
    return sqlite_uri(home() / "mlflow.db")


def _absolute(uri: str) -> str:
    """A relative sqlite file is beside `.trackyard/`, wherever a step moves the process to."""
    if not uri.strip():
        raise ValueError("must not be empty; leave it out for sqlite in .trackyard/")
    path = uri.removeprefix("sqlite:///")
    return uri if path == uri else sqlite_uri(home().parent / path)


@flavor
class MlflowTracker:
    """Track runs in MLflow: a server, Databricks, or by default sqlite in `.trackyard/`."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=Capabilities().kinds | {"audio", "video", "model", "dataset"},
        key_pattern=r"(?!/|\.\.)(?!.*//)(?!(.*/)?\.{1,2}(/|$))[\w\-. :/]+(?<!/)",
        artifact_pattern=ARTIFACT_PATTERN,
        key_length=250,
        param_length=6000,
        tag_length=5000,
        step_rule="integer",
        nests=True,
        child_runs="nested",
        shared_runs=True,
    )

    tracking_uri: str = option(
        "Server, database or 'databricks'",
        env="MLFLOW_TRACKING_URI",
        factory=_embedded_store,
        converter=_absolute,
    )
    experiment_name: str | None = option(
        "Experiment, else the pipeline's name", env="MLFLOW_EXPERIMENT_NAME", default=None
    )
    tags: dict[str, str] = option("Tags of every run", factory=dict)
    nested: bool = option("Show step runs below a run of their pipeline", default=True)
    tracking_username: str | None = option(
        "User name for the server", env="MLFLOW_TRACKING_USERNAME", default=None
    )
    tracking_password: Secret | None = secret(
        "Password for the server", env="MLFLOW_TRACKING_PASSWORD"
    )
    tracking_token: Secret | None = secret(
        "Bearer token for the server", env="MLFLOW_TRACKING_TOKEN"
    )
    tracking_insecure_tls: bool = option(
        "Do not verify the server's certificate", env="MLFLOW_TRACKING_INSECURE_TLS", default=False
    )
    databricks_host: str | None = option(
        "Databricks workspace URL", env="DATABRICKS_HOST", default=None
    )
    databricks_client_id: str | None = option(
        "Databricks service principal", env="DATABRICKS_CLIENT_ID", default=None
    )
    databricks_client_secret: Secret | None = secret(
        "Secret of the service principal", env="DATABRICKS_CLIENT_SECRET"
    )
    ui_port: int = option("Port where `trackyard ui` serves a database", default=5000)
    _home: Path = attrs.field(init=False, factory=home)
    _reader: Reader | None = attrs.field(init=False, default=None)
    _ids: dict[str, str] = attrs.field(init=False, factory=dict)
    _known_tags: dict[str, str] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        if not self.nested:
            vars(self)["capabilities"] = attrs.evolve(type(self).capabilities, nests=False)

    @hookimpl
    def tracker_start_run(self, run: Run) -> int | None:
        # Half of what the step waits at most, since its pipeline's run is started before it.
        with self._connected(run.deadline / 2) as client:
            there = find_or_create_run(client, run, self._experiment(run), self.tags)
            self._ids = ids_of(reopened(client, run, there))
            self._known_tags = dict(there.data.tags)
        return 0 if is_made_anew(run.folder) else None

    @hookimpl
    def tracker_start_early(self, run: Run) -> bool:
        place = self._experiment(run), self.tags, self.tracking_uri
        self._ids = make_run(run, *place, self._environment()) or {}
        self._known_tags = own_tags(run, self.tags) if self._ids else {}
        return bool(self._ids)

    @hookimpl
    def tracker_url(self) -> str | None:
        if not self._ids:
            return None
        return url_of(self._ids, self.tracking_uri, self.ui_port, self.databricks_host)

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        with self._connected(run.deadline) as client, writing(client, run, self._run_id()):
            send(client, self._run_id(), batch, self._ids["artifact_uri"], self._known_tags)

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        status = native.status_of(run.folder) or "FINISHED"
        self._end(run, status, {"trackyard.status": "finished"})

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        text = f"{failure.kind}: {failure.message}"[:5000]
        tags = {"trackyard.status": failure.status, "trackyard.failure": text}
        self._end(run, "KILLED" if failure.status == "killed" else "FAILED", tags)

    def _end(self, run: Run, status: str, tags: dict[str, str]) -> None:
        run_id, uri = self._run_id(), self.tracking_uri
        end_run(run, run_id, status, tags, uri=uri, connected=self._connected)
        self.tracker_sync_run(run)  # last: where MLflow lacks something it has ended all the same

    @hookimpl
    def tracker_activate_run(
        self, run: Run, capture: Capture | None, is_starting: bool
    ) -> AbstractContextManager[object]:
        place = self.tracking_uri, self._environment(), self._home
        return native.activated(run, capture, *place, is_starting=is_starting)

    @hookimpl
    def tracker_command_variables(self, run: Run) -> dict[str, str]:
        return native.variables_for(run.folder, self.tracking_uri, self._environment())

    @hookimpl
    def tracker_capture_alone(self) -> None:
        """Do nothing: what is not started writes into the run's folder."""

    @hookimpl
    def tracker_remote_id(self, run: Run) -> str | None:
        return read_ids(run.folder).get("run_id")

    @hookimpl
    def tracker_sync_run(self, run: Run) -> None:
        if native.has_local_run(run.folder):
            with self._connected(run.deadline) as client:
                native.move_local_run(run, self._home, client, self._run_id())

    @hookimpl
    def tracker_list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        self._reader = reader_of(query.place or self.tracking_uri, self._connected_to)
        return self._reader.runs(query)

    @hookimpl
    def tracker_read_run(
        self, run: Run, remote_id: str | None
    ) -> Iterator[Record | RemoteRun | ImportNote | MetricPoints]:
        if remote_id is not None and self._reader is not None:
            yield from self._reader.read(remote_id, run.folder)
            return
        with self._connected(run.deadline) as client:
            run_id = read_ids(run.folder)["run_id"]
            yield from read_records(client, run_id, run.folder / "downloads")

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        with self._connected(run.deadline) as client:
            delete_run(client, run)

    @hookimpl
    def tracker_check(self) -> list[str]:
        try:
            with self._connected() as client:
                client.search_experiments(max_results=1)
        except RetryLater as error:
            return [str(error)]
        return []

    @hookimpl
    def tracker_ui_command(self, host: str, port: int | None) -> list[str] | None:
        return ui_command(self.tracking_uri, host, port or self.ui_port)

    def _experiment(self, run: Run) -> str:
        return experiment_of(self.experiment_name or run.experiment, self.tracking_uri)

    def _run_id(self) -> str:
        assert self._ids, "core starts the run first"
        return self._ids["run_id"]

    def _connected(self, seconds: float = 10.0) -> AbstractContextManager[MlflowClient]:
        return connected(self.tracking_uri, self._environment(), seconds)

    def _connected_to(self, uri: str) -> AbstractContextManager[MlflowClient]:
        return connected(uri, self._environment(), 60.0)

    def _environment(self) -> dict[str, Any]:
        """What MLflow takes from the environment alone; databases need none of it."""
        if not self.tracking_uri.startswith(("http", "databricks")):
            return {}
        own = ("tracking_username", "tracking_password", "tracking_token")
        principal = ("databricks_client_id", "databricks_client_secret")
        groups = [
            {f"MLFLOW_{field.upper()}": getattr(self, field) for field in own},
            {"DATABRICKS_TOKEN": None, **{f.upper(): getattr(self, f) for f in principal}},
            {"DATABRICKS_HOST": self.databricks_host},
            {"MLFLOW_TRACKING_INSECURE_TLS": "true" if self.tracking_insecure_tls else None},
        ]
        environment: dict[str, Any] = {}
        for group in groups:  # where one is configured, the user's others are for other servers
            rest = None if any(group.values()) else KEEP
            for key, value in group.items():
                read = value.reveal() if isinstance(value, Secret) else value
                environment[key] = rest if read is None else read
        return environment
