"""Which fields does the Trackio flavor have, and what does it do at each hook?"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import attrs

from trackyard.contract import (
    Batch,
    Capabilities,
    Capture,
    Failure,
    Metric,
    Presence,
    Record,
    RejectedRecords,
    RemoteRun,
    RetryLater,
    Run,
    RunQuery,
    Secret,
    beside_home,
    flavor,
    hookimpl,
    in_home,
    option,
    secret,
)
from trackyard_trackio.importing import Databases, Piece
from trackyard_trackio.native import Step, active_run, native_config
from trackyard_trackio.rows import (
    KINDS,
    TAGS,
    Row,
    artifact_row,
    as_time,
    config_of,
    first_row,
    identity,
    metric_rows,
    project_name,
    run_name,
    without_end,
)
from trackyard_trackio.settings import headers_for, space_url
from trackyard_trackio.storing import LocalStore, Place, RemoteStore, Store
from trackyard_trackio.syncing import forward_native, read_native


def _without_token(_: object, __: object, url: str | None) -> None:
    if url and not re.match(r"https?://[^?]+$", url):
        raise ValueError("is an address such as https://host:7860; its write token goes to `token`")


@flavor
class TrackioTracker:
    """Track runs in Trackio: a dashboard on this machine, a server of yours, or a Space."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=frozenset(KINDS),
        child_runs="grouped",
        step_rule="integer",
        time_resolution=1,
        shared_runs=True,
        forwards_native=True,
        shows_failure_as="tag",
    )

    folder: Path = option(
        "Folder for Trackio's files",
        env="TRACKIO_DIR",
        factory=in_home("trackio"),
        converter=beside_home,
    )
    project: str | None = option("Trackio's project, else the pipeline's name", default=None)
    server_url: str | None = option(
        "Trackio server, as `trackio show` serves it",
        env="TRACKIO_SERVER_URL",
        default=None,
        validator=_without_token,
    )
    space_id: str | None = option(
        "Space that `trackio sync` made: user/name", env="TRACKIO_SPACE_ID", default=None
    )
    token: Secret | None = secret(
        help="Write token of the server, or Hugging Face's, else TRACKIO_WRITE_TOKEN, HF_TOKEN",
        env="TRACKIO_WRITE_TOKEN",
    )
    tags: dict[str, str] = option("Tags of every run, in its config", factory=dict)
    ui_port: int = option("Port where `trackyard ui` serves the dashboard", default=7860)
    _source: Databases | None = attrs.field(init=False, default=None)
    _config: dict[str, Any] = attrs.field(init=False, factory=dict)
    _known: set[tuple[Any, ...]] = attrs.field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        if self.space_id:  # anybody can open a Space unless its owner has made it private
            vars(self)["capabilities"] = attrs.evolve(type(self).capabilities, is_public=True)

    @hookimpl
    def tracker_start_run(self, run: Run) -> int | None:
        place, store = self._place(run), self._store(run)
        if self._presence(run).is_gone(*store.presence(place)):
            self._known = set()
        before = store.read_config(place)
        if before:  # a process before this one may have written what is sent once more
            found = store.read(place, run.folder / "downloads")
            self._known = {identity(record) for record in found if isinstance(record, Metric)}
        if run.resumed:  # it is running: nothing says any more how it had ended
            before = without_end({**before, TAGS: without_end(before.get(TAGS, {}))})
        tags = {**self.tags, **run.tags, **run.identity_tags, **before.get(TAGS, {})}
        user = run.context.user if run.context else None
        shown = {"_Username": user, "_Created": as_time(run.started_at), "_Group": run.group}
        self._config = {**before, **shown, TAGS: tags}
        self._write(run)
        return self._presence(run).note_start()

    @hookimpl
    def tracker_url(self, run: Run) -> str:
        url = self._server() or f"http://127.0.0.1:{self.ui_port}"
        where = {"project": project_name(self.project or run.experiment)}
        return f"{url}/run?{urlencode({**where, 'selected_run_id': run.id})}"

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        missing = [artifact for artifact in batch.artifacts if not artifact.path.is_file()]
        if missing:
            raise RejectedRecords(missing, "the file is no longer there")
        place, store = self._place(run), self._store_with(run)
        new = tuple(m for m in batch.metrics if not self._known or identity(m) not in self._known)
        rows = list(metric_rows(run, attrs.evolve(batch, metrics=new)))
        for artifact in batch.artifacts:
            store.save(place, artifact)
            rows.append(artifact_row(run, artifact, f"{place.media}/{artifact.name}"))
        self._config = config_of(batch, self._config)
        self._write(run, *rows)
        self._presence(run).note_records()

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        self._end(run, {"trackyard.status": "finished"})

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        text = f"{failure.kind}: {failure.message}"
        self._end(run, {"trackyard.status": failure.status, "trackyard.failure": text})

    def _end(self, run: Run, ending: dict[str, str]) -> None:
        self._store_with(run)
        self.tracker_sync_run(run)
        # Trackio has no failed state: the run's page shows the config, its lists show the tags.
        native = native_config(run.folder)
        of_calls = native[TAGS] if isinstance(native.get(TAGS), dict) else {}
        self._config = {**native, **self._config, **ending}
        self._config[TAGS] = {**of_calls, **self._config.get(TAGS, {}), **ending}
        self._write(run)

    @hookimpl
    def tracker_activate_run(
        self, run: Run, capture: Capture | None
    ) -> AbstractContextManager[object]:
        return active_run(Step(self._place(run), run.folder, capture), self.folder)

    @hookimpl
    def tracker_command_variables(self) -> dict[str, str]:
        return {"TRACKIO_DIR": str(self.folder)}

    @hookimpl
    def tracker_capture_alone(self, run: Run) -> None:
        self.folder = run.folder

    @hookimpl
    def tracker_read_native(self, run: Run, position: str) -> tuple[list[Record], str]:
        return read_native(run, self._place(run), LocalStore(self.folder), position)

    @hookimpl
    def tracker_sync_run(self, run: Run) -> None:
        store = self._store(run)
        if isinstance(store, RemoteStore):
            forward_native(run, self._place(run), LocalStore(self.folder), store, self._config)

    @hookimpl
    def tracker_list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        self._source = Databases(query.place or str(self.folder), self.folder)
        return self._source.runs(query)

    @hookimpl
    def tracker_read_run(self, run: Run, remote_id: str | None) -> Iterator[Piece]:
        if remote_id is not None and self._source is not None:
            return self._source.read(remote_id, run.folder)
        return self._store(run).read(self._place(run), run.folder / "downloads")

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        self._store(run).delete(self._place(run))

    @hookimpl
    def tracker_check(self) -> list[str]:
        try:
            if (url := self._server()) is not None:
                RemoteStore(url, headers_for(self.token, self.space_id)).check()
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
        except (RetryLater, OSError, ValueError) as error:
            return [str(error)]
        return []

    @hookimpl
    def tracker_ui_command(self, host: str, port: int | None) -> list[str] | None:
        if self._server():
            return None
        command = [sys.executable, "-P", "-m", "trackyard_trackio.page", str(self.folder), host]
        return [*command, str(port or self.ui_port)]

    def _write(self, run: Run, *rows: Row) -> None:
        self._store(run).write(self._place(run), [first_row(run), *rows], self._config)

    def _place(self, run: Run) -> Place:
        return Place(project_name(self.project or run.experiment), run_name(run), run.id)

    def _presence(self, run: Run) -> Presence:
        return Presence(run, f"{self._server() or self.folder}, {self._place(run).project}")

    def _store_with(self, run: Run) -> Store:
        """Give the store, where the run still is."""
        place, store = self._place(run), self._store(run)
        if self._presence(run).is_gone(*store.presence(place)):
            raise RetryLater(f"{self._presence(run).place} was emptied")
        return store

    def _server(self) -> str | None:
        if self.space_id:
            return space_url(self.space_id)
        return self.server_url.rstrip("/") if self.server_url else None

    def _store(self, run: Run) -> Store:
        if (url := self._server()) is None:
            return LocalStore(self.folder)
        return RemoteStore(url, headers_for(self.token, self.space_id), run.deadline)
