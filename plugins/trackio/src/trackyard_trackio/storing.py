"""How is a run written to Trackio's own store on this machine, or to a Trackio server?"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs

from trackyard.contract import (
    Artifact,
    Record,
    RetryLater,
    classify_answer,
    process_values,
    put_file,
)
from trackyard_trackio.rows import Row, config_records, records_of

# One page of what a server gives; it refuses more than 10,000 rows at once.
_PAGE = 5000
_ROWS = "SELECT log_id, step, timestamp, metrics, id FROM metrics WHERE run_id = '{}' AND id > {}"
_CONFIG = "SELECT config FROM configs WHERE run_id = '{}'"


@attrs.frozen
class Place:
    """Where a run is in Trackio."""

    project: str
    run: str
    run_id: str

    @property
    def media(self) -> str:
        """The folder of the run's files, relative to that for media."""
        return f"{file_name(self.project)}/files/{self.run_id}"


class Store(Protocol):
    """Where runs are kept."""

    def write(self, place: Place, rows: Sequence[Row], config: Mapping[str, Any]) -> None:
        """Write rows, and the run's config; a row that is there already stays as it is.

        Args:
            place: Where the run is.
            rows: Its rows.
            config: Its config, whole.
        """

    def save(self, place: Place, artifact: Artifact) -> None:
        """Keep the file of an artifact.

        Args:
            place: Where the run is.
            artifact: The artifact.
        """

    def delete(self, place: Place) -> None:
        """Delete a run; one that is not there is no error."""

    def presence(self, place: Place) -> tuple[Callable[[], bool], Callable[[], bool]]:
        """Give what tells whether the run is there, and whether anything is."""

    def read_config(self, place: Place) -> dict[str, Any]:
        """Give a run's config; empty where there is none."""

    def read(self, place: Place, downloads: Path) -> Iterator[Record]:
        """Read a run; files that are not on this machine come into a folder.

        Args:
            place: Where the run is.
            downloads: The folder for files.
        """


class LocalStore:
    """Trackio's sqlite files in a folder, as `trackio show` reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, place: Place, rows: Sequence[Row], config: Mapping[str, Any]) -> None:
        """Write by Trackio's own code, in one transaction."""
        with in_folder(self.folder), _later_where_the_disk_fails(self.folder):
            from trackio.sqlite_storage import SQLiteStorage

            self.folder.mkdir(parents=True, exist_ok=True)
            SQLiteStorage.bulk_log(
                project=place.project,
                run=place.run,
                run_id=place.run_id,
                metrics_list=[dict(row.values) for row in rows],
                steps=[row.step for row in rows],
                timestamps=[row.time for row in rows],
                log_ids=[row.id for row in rows],
                config=dict(config),
            )
            of_machine = [row for row in rows if row.of_machine]
            if of_machine:
                SQLiteStorage.bulk_log_system(
                    project=place.project,
                    run=place.run,
                    run_id=place.run_id,
                    metrics_list=[row.of_machine for row in of_machine],
                    timestamps=[row.time for row in of_machine],
                    log_ids=[row.id for row in of_machine],
                )

    def save(self, place: Place, artifact: Artifact) -> None:
        """Copy the file, whole or not at all."""
        target = self.folder / "media" / place.media / artifact.name
        with _later_where_the_disk_fails(self.folder):
            put_file(artifact.path, target, by_link=artifact.is_final)

    def delete(self, place: Place) -> None:
        """Delete its rows by Trackio's own code, and its files."""
        with in_folder(self.folder), _later_where_the_disk_fails(self.folder):
            from trackio.sqlite_storage import SQLiteStorage

            is_there = bool(self._query(place, _ROWS.format(place.run_id, 0)))
            if is_there and not SQLiteStorage.delete_run(place.project, place.run, place.run_id):
                raise RetryLater(f"{self.folder}: the run cannot be deleted")
            shutil.rmtree(self.folder / "media" / place.media, ignore_errors=True)

    def presence(self, place: Place) -> tuple[Callable[[], bool], Callable[[], bool]]:
        """Ask the files."""
        return lambda: bool(self.read_config(place)), lambda: any(self.folder.glob("*.db"))

    def read_config(self, place: Place) -> dict[str, Any]:
        """Read with sqlite alone: no SDK is imported for it."""
        found = self._query(place, _CONFIG.format(place.run_id))
        return dict(json.loads(found[0][0])) if found else {}

    def read(self, place: Place, downloads: Path) -> Iterator[Record]:  # noqa: ARG002 - of Store
        """Read likewise."""
        yield from config_records(self.read_config(place))
        rows = self._query(place, _ROWS.format(place.run_id, 0) + " ORDER BY id")
        for record in records_of(place.run_id, (row[:4] for row in rows)):
            if isinstance(record, Artifact):
                yield attrs.evolve(record, path=self.folder / "media" / record.path)
            else:
                yield record

    def native_rows(self, place: Place, first: int) -> list[tuple[Any, ...]]:
        """Give rows of Trackio's own calls behind a number, each with its number at the end.

        Args:
            place: Where the run is.
            first: The number of the last row that is known.
        """
        query = _ROWS.format(place.run_id, first)
        return self._query(place, f"{query} AND log_id NOT LIKE '{place.run_id}:%' ORDER BY id")

    def _query(self, place: Place, query: str) -> list[tuple[Any, ...]]:
        path = self.folder / f"{file_name(place.project)}.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            try:
                return connection.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise RetryLater(f"{path}: {error}") from error


class RemoteStore:
    """A Trackio server, or a Space, by the requests that Trackio's SDK sends.

    The SDK itself waits for minutes for a server that is away, and lets rows go that it refuses.

    Args:
        url: Its address.
        headers: What authorizes the requests.
        deadline: Seconds that a hook may take.
    """

    def __init__(self, url: str, headers: Mapping[str, str], deadline: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers)
        self._timeout = max(1.0, deadline / 3)

    def write(self, place: Place, rows: Sequence[Row], config: Mapping[str, Any]) -> None:
        """Send rows; the server gives them the time of their arrival."""
        known = {"project": place.project, "run": place.run, "run_id": place.run_id}
        logs: list[dict[str, Any]] = [
            {**known, "metrics": _json_safe(row.values), "step": row.step, "log_id": row.id}
            for row in rows
        ]
        logs[0]["config"] = dict(config)
        self._call("bulk_log", logs=logs, hf_token=self._token)
        of_machine = [
            {**known, "metrics": _json_safe(r.of_machine), "timestamp": r.time, "log_id": r.id}
            for r in rows
            if r.of_machine
        ]
        if of_machine:
            self._call("bulk_log_system", logs=of_machine, hf_token=self._token)

    def save(self, place: Place, artifact: Artifact) -> None:
        """Upload the file."""
        self._upload(place.project, artifact.path, Path(f"files/{place.run_id}/{artifact.name}"))

    def save_native(self, place: Place, path: Path, name: str) -> None:
        """Upload a file to where rows of Trackio's own calls name it.

        Args:
            place: Where the run is.
            path: The file.
            name: Its path below the folder for media, as the rows have it.
        """
        self._upload(place.project, path, Path(name).relative_to(file_name(place.project)))

    def _upload(self, project: str, path: Path, target: Path) -> None:
        with path.open("rb") as file:
            answer = self._request("POST", "api/upload", files={"files": (path.name, file)})
        uploaded = {"path": answer.json()["paths"][0], "orig_name": target.name}
        uploaded["meta"] = {"_type": "gradio.FileData"}
        # Only what belongs to a run keeps its name there: the folder stands for a run's name.
        entry = {"project": project, "run": target.parent.as_posix(), "step": None}
        upload = {**entry, "relative_path": None, "uploaded_file": uploaded}
        self._call("bulk_upload_media", uploads=[upload], hf_token=self._token)

    def delete(self, place: Place) -> None:
        """Have the rows deleted; the server keeps files."""
        self._call("delete_run", project=place.project, run=place.run, run_id=place.run_id)

    def presence(self, place: Place) -> tuple[Callable[[], bool], Callable[[], bool]]:
        """Ask the server."""
        has_others = lambda: bool(self._call("get_all_projects"))  # noqa: E731
        return lambda: bool(self.read_config(place)), has_others

    def read_config(self, place: Place) -> dict[str, Any]:
        """Ask for the config."""
        found = self._query(place, _CONFIG.format(place.run_id))
        return dict(json.loads(found[0]["config"])) if found else {}

    def read(self, place: Place, downloads: Path) -> Iterator[Record]:
        """Ask for everything, page by page."""
        yield from config_records(self.read_config(place))
        rows: list[dict[str, Any]] = []
        while page := self._query(place, f"{self._rows(place, rows)} ORDER BY id LIMIT {_PAGE}"):
            rows += page
        media = self._call("get_settings")["media_dir"]
        columns = ("log_id", "step", "timestamp", "metrics")
        for record in records_of(place.run_id, (tuple(r[c] for c in columns) for r in rows)):
            if isinstance(record, Artifact):
                target = downloads / record.path
                target.parent.mkdir(parents=True, exist_ok=True)
                path = f"{media}/{record.path}"
                target.write_bytes(self._request("GET", "file", params={"path": path}).content)
                yield attrs.evolve(record, path=target)
            else:
                yield record

    def check(self) -> None:
        """Ask the server for its version, to see that it is one of Trackio's."""
        self._request("GET", "version").json()

    @property
    def _token(self) -> str | None:
        return self._headers.get("Authorization", "").removeprefix("Bearer ") or None

    @staticmethod
    def _rows(place: Place, rows: Sequence[Mapping[str, Any]]) -> str:
        return _ROWS.format(place.run_id, rows[-1]["id"] if rows else 0)

    def _query(self, place: Place, query: str) -> list[dict[str, Any]]:
        try:
            found = self._call("query_project", project=place.project, query=query)
        except (RetryLater, ValueError) as error:  # it says 500 for a project that is not there yet
            if re.search("Project '.*' not found|no such table", str(error)):
                return []
            raise
        return list(found["rows"])

    def _call(self, name: str, **arguments: Any) -> Any:
        content = {"args": [], "kwargs": arguments}
        answer = self._request("POST", f"api/{name}", json=content).json()
        if answer.get("error") is not None:
            raise ValueError(f"{self._url}: {answer['error']}")
        return answer.get("data")

    def _request(self, method: str, path: str, **options: Any) -> Any:
        import httpx

        options |= {"headers": self._headers, "timeout": self._timeout, "follow_redirects": True}
        try:
            answer = httpx.request(method, f"{self._url}/{path}", **options)
        except httpx.RequestError as error:
            raise RetryLater(f"{self._url} cannot be reached: {error!r}") from error
        if answer.is_success and method == "GET":  # a file, which may be a page
            return answer
        said = classify_answer(answer.status_code, answer.headers, answer.content)
        if said.verdict != "taken":
            raise said.error(f"{self._url}/{path}")
        return answer


def file_name(project: str) -> str:
    """Give a project's name in the names of files, as Trackio makes it."""
    return "".join(c for c in project if c.isalnum() or c in "-_").rstrip() or "default"


def in_folder(folder: Path, patience: float = 1.0) -> AbstractContextManager[None]:
    """Let Trackio's code keep its files in a folder, which it decides when it is imported.

    Args:
        folder: The folder.
        patience: Seconds to wait for a block that wants another folder.
    """
    import trackio.artifact
    import trackio.sqlite_storage  # noqa: F401

    places = {"TRACKIO_DIR": folder, "MEDIA_DIR": folder / "media"}
    places["ARTIFACTS_DIR"] = folder / "artifacts"
    attributes = [
        (module, name, place)
        for module in [m for name, m in sys.modules.items() if name.partition(".")[0] == "trackio"]
        for name, place in places.items()
        if isinstance(vars(module).get(name), Path)
    ]
    return process_values({}, attributes, patience)


@contextmanager
def _later_where_the_disk_fails(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        raise RetryLater(f"{folder}: {error}") from error


def _json_safe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write what JSON cannot hold as Trackio does."""
    special = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return {k: special.get(str(v), v) if isinstance(v, float) else v for k, v in values.items()}
