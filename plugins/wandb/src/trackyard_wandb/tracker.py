"""Which fields does the W&B flavor have, and what does it do at each hook?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs

from trackyard.contract import (
    Batch,
    Capabilities,
    Capture,
    Failure,
    Record,
    RemoteRun,
    Run,
    RunQuery,
    Secret,
    flavor,
    hookimpl,
    is_out_of_reach,
    option,
    secret,
)
from trackyard_wandb import settings
from trackyard_wandb.alone import variables_of, without_account
from trackyard_wandb.attempts import joined, note_attempt
from trackyard_wandb.capturing import NativeReader
from trackyard_wandb.importing import WandbFiles, source_of
from trackyard_wandb.media import KINDS
from trackyard_wandb.native import active_run
from trackyard_wandb.native_runs import Step
from trackyard_wandb.places import Place, place_of
from trackyard_wandb.records import read_downloads, read_run
from trackyard_wandb.rows import Piece
from trackyard_wandb.server import PROBE, WandbServer, problems_of
from trackyard_wandb.server_runs import ServerRuns
from trackyard_wandb.state import load_state, save_state
from trackyard_wandb.sweeps import take_trial
from trackyard_wandb.uploading import Upload
from trackyard_wandb.writing import End, RunFile, kept_log, log_path

# Seconds after which a run that goes on is uploaded while it grows.
_LIVE_AFTER = 4.0


def _one_of(*values: str) -> Any:
    return attrs.validators.in_(values)


@flavor
class WandbTracker:
    """Track runs in Weights & Biases: its service, a server of your own, or files for later."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=frozenset({"file", "histogram", "model", "dataset", *KINDS}),
        child_runs="grouped",
        time_resolution=1_000,
        shared_runs=True,
        forwards_native=True,
        needs_folder=True,  # its own file, which an upload sends from the beginning
    )

    api_key: Secret | None = secret(
        "Key, else what WANDB_API_KEY or `wandb login` says", env="WANDB_API_KEY"
    )
    entity: str | None = option(
        "User or team, else the key's default one", env="WANDB_ENTITY", default=None
    )
    project: str | None = option(
        "Project, else the pipeline's name", env="WANDB_PROJECT", default=None
    )
    base_url: str | None = option(
        "Server of your own, such as https://wandb.acme", env="WANDB_BASE_URL", default=None
    )
    mode: Literal["auto", "online", "offline"] = option(
        "Where runs go; 'auto' is offline where no server answers within a second",
        default="auto",
        validator=_one_of("auto", "online", "offline"),
    )
    group: str | None = option("Group of the runs, else the pipeline run's id", default=None)
    job_type: str | None = option("Kind of job, else the step's name", default=None)
    tags: list[str] = option(
        "W&B's tags, for every run", factory=list, validator=settings.check_tags
    )
    run_id_strategy: Literal["new_on_retry", "reuse_on_retry"] = option(
        "A retry of a step is a run of its own, or goes on with the run of the attempt before",
        default="new_on_retry",
        validator=_one_of("new_on_retry", "reuse_on_retry"),
    )
    settings: dict[str, Any] = option(
        "Fields of `wandb.Settings` for W&B's own calls in a step",
        factory=dict,
        validator=settings.check_settings,
    )
    is_offline: bool = attrs.field(init=False, default=False)
    _file: RunFile | None = attrs.field(init=False, default=None)
    _upload: Upload | None = attrs.field(init=False, default=None)
    _readers: dict[Path, NativeReader] = attrs.field(init=False, factory=dict)
    _source: WandbFiles | ServerRuns | None = attrs.field(init=False, default=None)
    _page: str | None = attrs.field(init=False, default=None)
    _is_source: bool = attrs.field(init=False, default=False)
    _started_at: float | None = attrs.field(init=False, default=None)

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        self._started_at = time.monotonic()
        take_trial(run)
        self.is_offline = self._goes_offline(run)
        save_state(run.folder, mode="offline" if self.is_offline else "online")
        if not self.is_offline:
            self._start_online(run, run.deadline / 2)
        place = self._place(run)
        self._page = place.page(self._url())
        if self._shares_id():
            note_attempt(place.id, log_path(run.folder, place.id))
        if run.resumed:
            self._opened(run)

    @hookimpl
    def tracker_url(self) -> str | None:
        return self._page

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        self._opened(run).send(batch)

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        self._end(run, End("finished"))

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        self._end(run, End.of(failure))

    @hookimpl
    def tracker_activate_run(
        self, run: Run, capture: Capture | None
    ) -> AbstractContextManager[object]:
        take_trial(run)
        return active_run(Step(run, self._place(run), self.settings, capture, self._is_source))

    @hookimpl
    def tracker_remote_id(self, run: Run) -> str:
        return self._place(run).id

    @hookimpl
    def tracker_command_variables(self, run: Run) -> dict[str, str]:
        return variables_of(self._place(run), run.folder)

    @hookimpl
    def tracker_capture_alone(self) -> AbstractContextManager[None]:
        self._is_source = True
        return without_account()

    @hookimpl
    def tracker_read_native(self, run: Run, position: str) -> tuple[list[Record], str]:
        return self._readers.setdefault(run.folder, NativeReader(run)).read(position)

    @hookimpl
    def tracker_sync_run(self, run: Run) -> None:
        if self._started_at is None:  # the run has ended
            self._start_online(run, 10.0)
            self._uploaded(run)
            self._page = self._place(run).page(self._url())
            return
        self._opened(run).forward_native()
        is_short = time.monotonic() - self._started_at < _LIVE_AFTER
        if not (self.is_offline or is_short or self._shares_id()):
            self._upload = self._upload or self._new_upload(run)
            self._upload.start(is_live=True)

    @hookimpl
    def tracker_list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        own = self._url(), self._key(), self.entity, self.project
        self._source = found = source_of(query.place, *own)
        return found.runs(query)

    @hookimpl
    def tracker_read_run(self, run: Run, remote_id: str | None) -> Iterator[Piece]:
        if remote_id is not None and self._source is not None:
            return self._source.read(remote_id, run.folder)
        place, folder = self._place(run), run.folder / "downloads"
        if (path := kept_log(run.folder, place.id)) is not None:
            return read_run(path)
        return read_downloads(self._server(run.deadline / 2).read(place, folder), folder)

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        if load_state(run.folder).get("entity"):  # a server has it
            self._server(run.deadline / 2).delete(self._place(run))

    @hookimpl
    def tracker_check(self) -> list[str]:
        if self.mode == "offline":
            return []
        return problems_of(self._url(), self._key())

    def _goes_offline(self, run: Run) -> bool:
        """Decide it once for a run: another process goes on as the first one began."""
        decided = load_state(run.folder).get("mode")
        if decided or self.mode != "auto":
            return bool((decided or self.mode) == "offline")
        url, key = self._url(), self._key()
        problem = "" if key else "no API key is configured"
        return is_out_of_reach("W&B", url, WandbServer(url, None, PROBE).is_there, problem)

    def _start_online(self, run: Run, timeout: float) -> None:
        save_state(run.folder, **self._server(timeout).start(run, self._place(run)))

    def _opened(self, run: Run) -> RunFile:
        if self._file is None:
            self._file = RunFile(run, self._place(run))
            if run.resumed > load_state(run.folder).get("resumed", 0):
                self._file.reopen()
                save_state(run.folder, resumed=run.resumed)
        return self._file

    def _end(self, run: Run, end: End) -> None:
        file = self._opened(run)
        file.finish(end, run.ended_at)
        if not self.is_offline:
            self._uploaded(run)
        file.close()
        self._file = None

    def _uploaded(self, run: Run) -> None:
        """Wait until the server has the whole run."""
        self._upload = self._upload or self._new_upload(run)
        self._upload.wait(max(1.0, run.deadline - 1.0))

    def _new_upload(self, run: Run) -> Upload:
        path = log_path(run.folder, (place := self._place(run)).id)
        path = joined(run, place, path) if self._shares_id() else path
        return Upload(path, self._url(), settings.checked_key(self._key()))

    def _place(self, run: Run) -> Place:
        names = {name: getattr(self, name) for name in ("entity", "project", "group", "job_type")}
        return place_of(run, **names, tags=self.tags, shares_id=self._shares_id())

    def _shares_id(self) -> bool:
        return self.run_id_strategy == "reuse_on_retry"

    def _url(self) -> str:
        return (self.base_url or settings.configured_url()).rstrip("/")

    def _key(self) -> str | None:
        return self.api_key.reveal() if self.api_key else settings.configured_api_key(self._url())

    def _server(self, timeout: float) -> WandbServer:
        return WandbServer(self._url(), settings.checked_key(self._key()), timeout)
