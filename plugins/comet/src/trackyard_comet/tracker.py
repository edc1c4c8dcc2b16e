"""Which fields does the Comet flavor have, and what does it do at each hook?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from typing import ClassVar, Literal

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
    secret,
)
from trackyard_comet import settings
from trackyard_comet.alone import variables_of, without_account
from trackyard_comet.archive import archive_path, load_state, read_archive
from trackyard_comet.captured import read_native
from trackyard_comet.context import context_messages
from trackyard_comet.importing import Archives, Piece
from trackyard_comet.messages import KINDS, messages_of
from trackyard_comet.native import active_experiment
from trackyard_comet.server import CometServer, is_reachable, page_of
from trackyard_comet.server_runs import ServerRuns
from trackyard_comet.sources import source_of
from trackyard_comet.writing import End, OfflineRun, OnlineRun, Place, Writing


@flavor
class CometTracker:
    """Track runs in Comet: its service, a server of your own, or archives to upload later."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=frozenset(KINDS),
        key_length=100,
        param_length=1000,
        tag_length=1000,
        step_rule="integer",
        shared_runs=True,
        forwards_native=True,
    )

    api_key: Secret | None = secret(
        "Key, else what COMET_API_KEY or `comet login` says", env="COMET_API_KEY"
    )
    workspace: str | None = option(
        "Workspace, else the key's default one", env="COMET_WORKSPACE", default=None
    )
    project: str | None = option(
        "Project, else the pipeline's name", env="COMET_PROJECT_NAME", default=None
    )
    mode: Literal["auto", "online", "offline"] = option(
        "Where runs go; 'auto' is offline where no server answers within a second",
        default="auto",
        validator=attrs.validators.in_(("auto", "online", "offline")),
    )
    url: str | None = option(
        "Server of your own, such as https://comet.example.com",
        env="COMET_URL_OVERRIDE",
        default=None,
    )
    tags: list[str] = option("Comet's tags, for every run", factory=list)
    is_offline: bool = attrs.field(init=False, default=False)
    _source: Archives | ServerRuns | None = attrs.field(init=False, default=None)
    _writing: Writing | None = attrs.field(init=False, default=None)
    _page: str | None = attrs.field(init=False, default=None)

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        if self._writing is not None:  # an earlier try's
            self._writing.close()
        self.is_offline = self._goes_offline(run)
        self._writing = self._new_writing(run)
        self._writing.start()
        self._find_page(run)

    @hookimpl
    def tracker_url(self) -> str | None:
        return self._page

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        missing = [artifact for artifact in batch.artifacts if not artifact.path.is_file()]
        if missing:
            raise RejectedRecords(missing, "the file is no longer there")
        of_context = context_messages(batch.context) if batch.context else ()
        self._started().send([*of_context, *messages_of(run, batch)])

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        self._end(End("finished", "", run.ended_at))

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        text = f"{failure.kind}: {failure.message}"[:1000]
        self._end(End(failure.status, text, run.ended_at))

    @hookimpl
    def tracker_activate_run(
        self, run: Run, capture: Capture | None
    ) -> AbstractContextManager[object]:
        place = self._place(run)
        return active_experiment(run, (place.workspace, place.project), capture)

    @hookimpl
    def tracker_command_variables(self, run: Run) -> dict[str, str]:
        return variables_of(run, self._place(run), self._key(), is_offline=self._goes_offline(run))

    @hookimpl
    def tracker_capture_alone(self) -> AbstractContextManager[None]:
        return without_account()

    @hookimpl
    def tracker_read_native(self, run: Run, position: str) -> tuple[list[Record], str]:
        return read_native(run.folder, position, run.name)

    @hookimpl
    def tracker_sync_run(self, run: Run) -> None:
        if self._writing is not None:  # the run lives
            self._writing.forward_native()
            return
        kept = load_state(run.folder)
        with closing(OnlineRun(run, self._place(run), self._server(run))) as online:
            online.start()
            online.send_kept()
            online.finish(End(**kept["end"]))
        self._find_page(run)

    @hookimpl
    def tracker_list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        own = self._url(), self._key(), self.workspace, self.project
        self._source = found = source_of(query.place, *own)
        return found.runs(query)

    @hookimpl
    def tracker_read_run(self, run: Run, remote_id: str | None) -> Iterator[Piece]:
        if remote_id is not None and self._source is not None:
            yield from self._source.read(remote_id, run.folder)
            return
        if load_state(run.folder).get("mode") == "offline" and archive_path(run).is_file():
            yield from read_archive(run)
            return
        with closing(self._server(run)) as server:
            yield from server.read(run.folder / "downloads")

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        if load_state(run.folder).get("mode") != "online":
            return  # its archive is in `run.folder`
        with closing(self._server(run)) as server:
            server.delete()

    @hookimpl
    def tracker_check(self) -> list[str]:
        if self.mode == "offline":
            return []
        if self._key() is None:
            return ["no API key; set `api_key`, or type: comet login"]
        server = CometServer(self._url(), self._key())
        try:
            server.check()
        except (RetryLater, ValueError) as error:
            return [str(error)]
        finally:
            server.close()
        return []

    def _goes_offline(self, run: Run) -> bool:
        """Decide it once for a run: another process goes on as the first one began."""
        decided = load_state(run.folder).get("mode")
        if decided or self.mode != "auto":
            return bool((decided or self.mode) == "offline")
        url, problem = self._url(), "" if self._key() else "no API key is configured"
        return is_out_of_reach("Comet", url, lambda: is_reachable(url), problem)

    def _new_writing(self, run: Run) -> Writing:
        place = self._place(run)
        if self.is_offline:
            return OfflineRun(run, place)
        return OnlineRun(run, place, self._server(run))

    def _started(self) -> Writing:
        assert self._writing is not None, "core calls tracker_start_run first"
        return self._writing

    def _end(self, end: End) -> None:
        with closing(self._started()) as writing:
            writing.finish(end)

    def _find_page(self, run: Run) -> None:
        known: str | None = load_state(run.folder).get("url")
        place = self._place(run)
        self._page = known or page_of(self._url(), place.workspace, place.project, run.id)

    def _place(self, run: Run) -> Place:
        project = self.project or settings.configured_project() or run.experiment
        workspace = self.workspace or settings.configured_workspace()
        return Place(project, workspace, tuple(dict.fromkeys(self.tags)))

    def _server(self, run: Run) -> CometServer:
        return CometServer(self._url(), self._key(), run.id, run.deadline, load_state(run.folder))

    def _url(self) -> str:
        return self.url.rstrip("/") if self.url else settings.configured_url()

    def _key(self) -> str | None:
        return self.api_key.reveal() if self.api_key else settings.configured_api_key()
