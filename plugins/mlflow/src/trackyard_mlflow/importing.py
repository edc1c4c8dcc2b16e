"""Which runs does a place of MLflow's hold: a folder, a database or a server?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from trackyard.contract import ImportNote, MetricPoints, Record, RemoteRun, RunQuery, TrackyardError
from trackyard_mlflow.databases import Database
from trackyard_mlflow.file_store import FileStore
from trackyard_mlflow.foreign import context_of, remote_run, version_of
from trackyard_mlflow.reading import read_records

if TYPE_CHECKING:
    from mlflow import MlflowClient

Connected = Callable[[str], "AbstractContextManager[MlflowClient]"]


class Reader(Protocol):
    """Lists and reads the runs of a place."""

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List them."""

    def read(self, run_id: str, scratch: Path) -> Iterator[Record | ImportNote | MetricPoints]:
        """Read one.

        Args:
            run_id: MLflow's own id.
            scratch: A folder for what is written or downloaded.
        """


def reader_of(place: str, connected: Connected) -> Reader:
    """Find who reads a place.

    Args:
        place: A folder, a file, or MLflow's own kind of URI.
        connected: Gives a client of a server.

    Raises:
        TrackyardError: There is nothing.
    """
    if place.startswith("sqlite:///"):
        return Database(Path(place.removeprefix("sqlite:///").partition("?")[0]))
    if "://" in place and not place.startswith("file:"):
        return Server(place, connected)
    if place.startswith("databricks"):
        return Server(place, connected)
    path = Path(place.removeprefix("file://")).expanduser()
    if path.is_file():
        return Database(path)
    if (path / "mlruns").is_dir() and not (path / "0").is_dir():
        path /= "mlruns"
    if not path.is_dir():
        raise TrackyardError(f"{place}: there is no such folder or file")
    return FileStore(path)


@attrs.define
class Server:
    """A tracking server, or a database that MLflow alone can reach.

    Attributes:
        uri: Its address.
        connected: Gives a client of it.
    """

    uri: str
    connected: Connected

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List its runs, page by page.

        Args:
            query: Which runs.
        """
        with self.connected(self.uri) as client:
            for experiment_id, name in self._experiments(client, query):
                token: str | None = None
                since = None if query.since is None else query.since // 1_000_000
                text = "" if since is None else f"attributes.start_time >= {since}"
                while True:
                    runs = client.search_runs(
                        [experiment_id], text, max_results=query.page, page_token=token
                    )
                    yield from (_remote(run, name) for run in runs)
                    token = runs.token
                    if not token:
                        break

    def _experiments(self, client: MlflowClient, query: RunQuery) -> Iterator[tuple[str, str]]:
        token: str | None = None
        while True:
            found = client.search_experiments(max_results=min(query.page, 1000), page_token=token)
            for experiment in found:
                if query.experiment in (None, experiment.name):
                    yield experiment.experiment_id, experiment.name
            token = found.token
            if not token:
                return

    def read(self, run_id: str, scratch: Path) -> Iterator[Record | ImportNote]:
        """Read one of its runs.

        Args:
            run_id: MLflow's own id.
            scratch: Where artifacts are downloaded to.
        """
        with self.connected(self.uri) as client:
            yield context_of(client.get_run(run_id).data.tags)
            yield from read_records(client, run_id, scratch / "downloads")


def _remote(run: object, experiment: str) -> RemoteRun:
    info, data = run.info, run.data  # type: ignore[attr-defined]
    values = {
        "name": info.run_name,
        "experiment": experiment,
        "status": info.status,
        "start_time": info.start_time,
        "end_time": info.end_time,
        "user_id": info.user_id,
    }
    last = sorted((key, repr(value)) for key, value in data.metrics.items())
    version = version_of([values, sorted(data.tags.items()), sorted(data.params.items()), last])
    # A history may grow without its last value: only what has ended is not read again.
    found = remote_run(info.run_id, values, data.tags, version)
    return attrs.evolve(found, version=version if info.end_time else None)
