"""Which fields does the Neptune flavor have, and what does it do at each hook?"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal

import attrs

from trackyard.contract import (
    Batch,
    Capabilities,
    Capture,
    Failure,
    Record,
    RejectedRecords,
    RemoteRun,
    RetryLater,
    Run,
    RunQuery,
    Secret,
    flavor,
    hookimpl,
    is_out_of_reach,
    option,
    retried_later,
    secret,
)
from trackyard_neptune import settings
from trackyard_neptune.exports import Piece
from trackyard_neptune.folder import (
    OperationFolder,
    load_state,
    native_folder,
    native_operations,
    save_state,
)
from trackyard_neptune.importing import Source, source_of
from trackyard_neptune.native import NativeRun, active_run
from trackyard_neptune.operations import (
    KINDS,
    Operation,
    batch_operations,
    first_operations,
    identities,
    last_operations,
    records_among,
    records_of,
    refused_records,
    reopening_operations,
    without,
)
from trackyard_neptune.server import NeptuneServer, is_reachable


@flavor
class NeptuneTracker:
    """Track runs in Neptune: in its offline folders, or on a compatible server."""

    notice: ClassVar[str] = (
        "Neptune's hosted service closed on 2026-03-05, and its data was deleted: without a "
        "compatible server of your own runs stay on this machine; to move them into another "
        "tracker, type: trackyard replay RUN --to NAME"
    )
    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=frozenset(KINDS),
        key_pattern=r"(?s)[^/\0]+(/[^/\0]+)*",
        key_length=250,
        param_length=16384,
        tag_length=16384,
        step_rule="float",
        not_a_number="drop",
        child_runs="grouped",
        shared_runs=True,
        forwards_native=True,
    )

    project: str | None = option(
        "Project, workspace/name, else NEPTUNE_PROJECT", env="NEPTUNE_PROJECT", default=None
    )
    api_token: Secret | None = secret(
        "Token, which names its server, else NEPTUNE_API_TOKEN", env="NEPTUNE_API_TOKEN"
    )
    mode: Literal["auto", "online", "offline"] = option(
        "Where runs go; 'auto' is offline where no server answers within a second",
        default="auto",
        validator=attrs.validators.in_(("auto", "online", "offline")),
    )
    tags: list[str] = option("Neptune's tags, for every run", factory=list)
    is_offline: bool = attrs.field(init=False, default=False)
    _folder: OperationFolder | None = attrs.field(init=False, default=None)
    _source: Source | None = attrs.field(init=False, default=None)
    _server: NeptuneServer | None = attrs.field(init=False, default=None)
    _known: set[tuple[Any, ...]] = attrs.field(init=False, factory=set)
    _last: set[tuple[Any, ...]] = attrs.field(init=False, factory=set)
    # Points that are written down, and of which core was not told so: it gives them once more.
    _unanswered: set[tuple[Any, ...]] = attrs.field(init=False, factory=set)
    # What the server has refused of native calls, and core does not know of yet.
    _refused: list[tuple[Operation, str]] = attrs.field(init=False, factory=list)

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        self.is_offline = self._goes_offline(run)
        with retried_later():
            self._folder = folder = OperationFolder(run)
            # What a process before this one has written, and may be about to send once more.
            self._known = set().union(*map(identities, folder.all()))
            if not load_state(run.folder):
                folder.append(first_operations(run, self.tags))
            elif run.resumed > load_state(run.folder).get("resumed", 0):
                folder.append(reopening_operations())
                save_state(run.folder, resumed=run.resumed)
            save_state(run.folder, mode="offline" if self.is_offline else "online")
        if not self.is_offline:
            self._begin_online(run)
            if run.resumed:
                self._refused += self._ship()

    @hookimpl
    def tracker_url(self, run: Run) -> str:
        return load_state(run.folder).get("url") or self._started().path.as_uri()

    @hookimpl
    def tracker_log(self, batch: Batch) -> None:
        missing = [artifact for artifact in batch.artifacts if not artifact.path.is_file()]
        if missing:
            raise RejectedRecords(missing, "the file is no longer there")
        operations = list(batch_operations(batch))
        points = set().union(*map(identities, operations))
        known = self._known | self._last | self._unanswered
        self._write(filter(None, (without(operation, known) for operation in operations)))
        self._unanswered |= points  # others may come before these come again
        refused = self._ship()
        self._last, self._unanswered = points, self._unanswered - points
        records = records_among(batch, (operation for operation, _ in refused))
        own = [one for one in refused if records_among(batch, [one[0]])]
        self._refused += [one for one in refused if one not in own]
        if records:
            raise RejectedRecords(records, _said(own))

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        self._end(run, "finished", "")

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        self._end(run, failure.status, f"{failure.kind}: {failure.message}"[:16384])

    def _end(self, run: Run, status: str, failure: str) -> None:
        with retried_later():
            self._started().copy_native(run.folder)
            self._write(last_operations(status, failure))
        self._ship_native()

    @hookimpl
    def tracker_activate_run(
        self, run: Run, capture: Capture | None
    ) -> AbstractContextManager[NativeRun]:
        return active_run(run, self.project, capture)

    @hookimpl
    def tracker_command_variables(self, run: Run) -> dict[str, str]:
        return {"NEPTUNE_MODE": "offline", "NEPTUNE_DATA_DIRECTORY": str(native_folder(run.folder))}

    @hookimpl
    def tracker_capture_alone(self) -> None:
        """Do nothing: what is not started writes into the run's folder."""

    @hookimpl
    def tracker_read_native(self, run: Run, position: str) -> tuple[list[Record], str]:
        operations, position = native_operations(run.folder, position, run.name)
        return list(records_of(operations, run.folder / "captured")), position

    @hookimpl
    def tracker_sync_run(self, run: Run) -> None:
        if self._folder is None:  # the run has ended, and was kept offline
            self._folder = OperationFolder(run)
            self._begin_online(run)
        with retried_later():
            self._folder.copy_native(run.folder)
        self._ship_native()

    @hookimpl
    def tracker_list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        self._source = source_of(query.place)
        return self._source.runs(query)

    @hookimpl
    def tracker_read_run(self, run: Run, remote_id: str | None) -> Iterator[Piece]:
        if remote_id is not None and self._source is not None:
            return self._source.read(remote_id, run.folder)
        state = load_state(run.folder)
        if state.get("mode") == "offline" and (run.folder / ".neptune").is_dir():
            return records_of(OperationFolder(run).all())
        return self._new_server(run).read(run.folder / "downloads")

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        if load_state(run.folder).get("container"):
            self._new_server(run).delete()
        shutil.rmtree(run.folder / ".neptune", ignore_errors=True)

    @hookimpl
    def tracker_check(self) -> list[str]:
        if self.mode == "offline":
            return []
        try:
            NeptuneServer(self._token(), settings.project_of(self.project), "", {}).check()
        except (RetryLater, ValueError) as error:
            return [str(error)]
        return []

    def _goes_offline(self, run: Run) -> bool:
        """Decide it once for a run: another process goes on as the first one began."""
        decided = load_state(run.folder).get("mode", self.mode)
        if decided != "auto":
            return bool(decided == "offline")
        token = self._token()
        url, problem = (
            (settings.server_url(token), "") if token else ("", "no API token is configured")
        )
        return is_out_of_reach("Neptune", url, lambda: is_reachable(url), problem)

    def _begin_online(self, run: Run) -> None:
        self._server = self._new_server(run)
        save_state(run.folder, **self._server.start())

    def _write(self, operations: Iterable[Operation]) -> None:
        with retried_later():
            self._started().append(operations)

    def _ship(self) -> list[tuple[Operation, str]]:
        """Send what no server has yet; give what it refuses."""
        if self._server is None:
            return []
        operations, end = self._started().unsent()
        refused = self._server.send(operations, self._started().path)
        self._started().acknowledge(end)
        return refused

    def _ship_native(self) -> None:
        """Send what no server has yet, and tell core what was refused and no batch had."""
        refused, self._refused = [*self._refused, *self._ship()], []
        if refused:
            raise RejectedRecords(refused_records(refused), _said(refused))

    def _new_server(self, run: Run) -> NeptuneServer:
        project = settings.project_of(self.project)
        return NeptuneServer(self._token(), project, run.id, load_state(run.folder))

    def _token(self) -> str | None:
        return settings.api_token(self.api_token)

    def _started(self) -> OperationFolder:
        assert self._folder is not None, "core calls tracker_start_run first"
        return self._folder


def _said(refused: list[tuple[Operation, str]]) -> str:
    return "; ".join(dict.fromkeys(text for _, text in refused))
