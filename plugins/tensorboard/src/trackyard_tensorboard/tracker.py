"""Which fields does the TensorBoard flavor have, and what does it do at each hook?"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import attrs

from trackyard.contract import (
    Batch,
    Capabilities,
    Capture,
    Failure,
    Presence,
    Record,
    RejectedRecords,
    RemoteRun,
    RetryLater,
    Run,
    RunQuery,
    beside_home,
    flavor,
    folder_problems,
    hookimpl,
    in_home,
    name_on_disk,
    option,
    retried_later,
)
from trackyard_tensorboard import native
from trackyard_tensorboard.events import EventFiles
from trackyard_tensorboard.files import read_files
from trackyard_tensorboard.importing import EventFolders, Piece
from trackyard_tensorboard.reading import ARTIFACTS, read_records, read_state
from trackyard_tensorboard.summaries import (
    NAME,
    RunState,
    artifact_event,
    copied,
    metric_events,
    run_events,
)


@flavor
class TensorboardTracker:
    """Track runs in TensorBoard: event files in a folder, which its page shows."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=Capabilities().kinds | {"histogram", "audio", "video"},
        step_rule="integer",
        time_resolution=1,
        shared_runs=True,
    )

    log_dir: Path = option(
        "Folder for all runs, as for `tensorboard --logdir`",
        factory=in_home("tensorboard"),
        converter=beside_home,
    )
    experiment_name: str | None = option("Folder of the run, else the pipeline's", default=None)
    tags: dict[str, str] = option("Tags of every run", factory=dict)
    server_url: str | None = option("Address of a TensorBoard that serves it", default=None)
    ui_port: int = option("Port where `trackyard ui` serves it", default=6006)
    _source: EventFolders | None = attrs.field(init=False, default=None)
    _files: EventFiles | None = attrs.field(init=False, default=None)
    _state: RunState | None = attrs.field(init=False, default=None)

    @hookimpl
    def tracker_start_run(self, run: Run) -> int | None:
        folder = self._folder(run)
        self._is_gone(run)
        with retried_later():
            self._files = EventFiles(folder, run)
            self._state = read_state(folder) or RunState(run.started_at)
            if run.resumed:
                self._state.reopen()
            own = run.identity_tags
            if not folder.name.startswith(f"{run.name}-"):  # the folder does not say it
                own = {**own, NAME: run.name}
            self._state.tags = {**self.tags, **run.tags, **own, **self._state.tags}
            self._files.replace_run(run_events(self._state))
            return Presence(run, str(folder)).note_start()

    @hookimpl
    def tracker_url(self, run: Run) -> str:
        host = (self.server_url or f"http://127.0.0.1:{self.ui_port}").rstrip("/")
        name = self._folder(run).relative_to(self.log_dir).as_posix()
        pattern = re.sub(r"([.+])", r"\\\1", name)
        return f"{host}/?runFilter={quote(f'^{pattern}$', safe='')}#timeseries"

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        files, state = self._started_and_there(run)
        missing = [artifact for artifact in batch.artifacts if not artifact.path.is_file()]
        if missing:
            raise RejectedRecords(missing, "the file is no longer there")
        new = files.new_of(batch)
        with retried_later():
            for artifact in batch.artifacts:
                copied(artifact, self._folder(run) / ARTIFACTS)
            files.append([*metric_events(new), *filter(None, map(artifact_event, new.artifacts))])
            files.remember(new)
            if batch.params or batch.tags or batch.context:
                state.note_context(batch.context)
                state.params.update((param.key, param.value) for param in batch.params)
                state.tags.update((tag.key, tag.value) for tag in batch.tags)
                files.replace_run(run_events(state))
            Presence(run, str(self._folder(run))).note_records()

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        self._end(run, None)

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        self._end(run, failure)

    def _end(self, run: Run, failure: Failure | None) -> None:
        files, state = self._started_and_there(run)
        state.end(run, failure)
        with retried_later():
            self.tracker_sync_run(run)
            files.replace_run(run_events(state))

    @hookimpl
    def tracker_activate_run(
        self, run: Run, capture: Capture | None
    ) -> AbstractContextManager[object]:
        return native.active_run(
            native.Step(
                name=run.name,
                folder=self._writable(run),
                capture=capture,
                folder_of=lambda name, kept: self._writable(
                    attrs.evolve(run, name=name, id=kept.parent.name, folder=kept)
                ),
            )
        )

    @hookimpl
    def tracker_remote_id(self, run: Run) -> str:
        return str(self._folder(run))

    @hookimpl
    def tracker_capture_alone(self, run: Run) -> None:
        self.log_dir = run.folder

    @hookimpl
    def tracker_read_files(self, run: Run, files: Path, position: str) -> tuple[list[Record], str]:
        return read_files(run, files, position)

    @hookimpl
    def tracker_sync_run(self, run: Run) -> None:
        kept = run.folder / "native"
        for path in sorted(path for path in kept.rglob("*") if path.is_file()):
            target = self._folder(run) / path.relative_to(kept)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    @hookimpl
    def tracker_list_runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        self._source = EventFolders(Path(query.place or self.log_dir).expanduser())
        return self._source.runs(query)

    @hookimpl
    def tracker_read_run(self, run: Run, remote_id: str | None) -> Iterator[Piece]:
        if remote_id is not None and self._source is not None:
            return self._source.read(remote_id, run.folder)
        return read_records(self._folder(run))

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        folder = self._folder(run)
        with retried_later():
            if folder.exists():
                shutil.rmtree(folder)
            if folder.parent.exists() and not any(folder.parent.iterdir()):
                folder.parent.rmdir()

    @hookimpl
    def tracker_check(self) -> list[str]:
        return folder_problems(self.log_dir, "log_dir")

    @hookimpl
    def tracker_ui_command(self, host: str, port: int | None) -> list[str] | None:
        if self.server_url:
            return None
        self.log_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-P", "-m", "tensorboard.main", "--logdir", str(self.log_dir)]
        # Several writers may be at work in a run: native ones, and that of the portable calls.
        command += ["--reload_multifile", "true", "--reload_interval", "5"]
        return [*command, "--host", host, "--port", str(port or self.ui_port)]

    def _folder(self, run: Run) -> Path:
        """The same for the same `run.id`; other runs of that name have other ones."""
        experiment = name_on_disk(self.experiment_name or run.experiment or "default")
        return self.log_dir / experiment / f"{name_on_disk(run.name)}-{run.id[-8:]}"

    def _writable(self, run: Run) -> Path:
        """The same, or one where what is written is kept while a drive is away."""
        folder = self._folder(run)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return run.folder / "native"
        return folder

    def _is_gone(self, run: Run) -> bool:
        folder, pattern = self._folder(run), "*tfevents*"
        is_there, others = folder.glob(pattern), self.log_dir.rglob(pattern)
        return Presence(run, str(folder)).is_gone(lambda: any(is_there), lambda: any(others))

    def _started_and_there(self, run: Run) -> tuple[EventFiles, RunState]:
        if self._is_gone(run):
            raise RetryLater(f"{self.log_dir} was emptied")
        assert self._files is not None, "core calls tracker_start_run first"
        assert self._state is not None
        return self._files, self._state
