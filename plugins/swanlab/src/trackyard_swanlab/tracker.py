"""Which fields does the SwanLab flavor have, and what does it do at each hook?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import attrs

from trackyard.contract import (
    Batch,
    Capabilities,
    Failure,
    Presence,
    Record,
    RejectedRecords,
    RetryLater,
    Run,
    beside_home,
    flavor,
    folder_problems,
    hookimpl,
    in_home,
    option,
    retried_later,
)
from trackyard_swanlab.files import RunFolder, file_of, read_records


@flavor
class SwanlabTracker:
    """Track runs in SwanLab, in folders that `swanlab sync` uploads."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=frozenset({"file", "image", "figure", "audio", "text", "html"}),
        step_rule="integer",
        points_per_step="one",
        least_step=0,
        needs_step=True,
        time_resolution=1,
    )

    directory: Path = option(
        "Folder for all runs", factory=in_home("swanlab"), converter=beside_home
    )
    tags: dict[str, str] = option("Tags of every run", factory=dict)
    _files: RunFolder | None = attrs.field(init=False, default=None)

    @hookimpl
    def tracker_start_run(self, run: Run) -> int | None:
        folder = self._folder(run)
        self._is_gone(run)
        with retried_later():
            self._files = RunFolder(folder, run)
            state = self._files.state
            if run.resumed:
                self._files.reopen()
                for key in ("trackyard.status", "trackyard.failure"):
                    state.tags.pop(key, None)
            state.tags = {**self.tags, **run.tags, **run.identity_tags, **state.tags}
            self._files.keep_state()
            return Presence(run, str(folder)).note_start()

    @hookimpl
    def tracker_url(self, run: Run) -> str:
        return self._folder(run).as_uri()

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        files = self._started_and_there(run)
        missing = [artifact for artifact in batch.artifacts if not artifact.path.is_file()]
        if missing:
            raise RejectedRecords(missing, "the file is no longer there")
        with retried_later():
            for artifact in batch.artifacts:
                files.keep(artifact)
            files.append(batch.metrics)
            if batch.params or batch.tags or batch.context:
                state = files.state
                state.params.update((param.key, param.value) for param in batch.params)
                if batch.context:
                    state.tags = {**batch.context.tags, **state.tags}
                state.tags.update((tag.key, tag.value) for tag in batch.tags)
                files.keep_state()
            Presence(run, str(self._folder(run))).note_records()

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        self._end(run, None, {"trackyard.status": "finished"})

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        why = f"{failure.kind}: {failure.message}"
        tags = {"trackyard.status": failure.status, "trackyard.failure": why}
        self._end(run, failure, tags)

    @hookimpl
    def tracker_read_run(self, run: Run) -> Iterator[Record]:
        return read_records(self._folder(run), run)

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        folder = self._folder(run)
        with retried_later():
            if folder.exists():
                shutil.rmtree(folder)

    @hookimpl
    def tracker_check(self) -> list[str]:
        return folder_problems(self.directory, "directory")

    def _end(self, run: Run, failure: Failure | None, tags: dict[str, str]) -> None:
        files = self._started_and_there(run)
        files.state.tags.pop("trackyard.failure", None)
        files.state.tags.update(tags)
        with retried_later():
            files.end(run, failure)

    def _folder(self, run: Run) -> Path:
        """As the SDK calls it; the same for the same run."""
        begun = datetime.fromtimestamp(run.started_at / 1e9, UTC)
        return self.directory / f"run-{begun:%Y%m%d_%H%M%S}-{run.id}"

    def _is_gone(self, run: Run) -> bool:
        folder = self._folder(run)
        is_there, others = file_of(folder, run), self.directory.glob("*/run-*.swanlab")
        return Presence(run, str(folder)).is_gone(is_there.exists, lambda: any(others))

    def _started_and_there(self, run: Run) -> RunFolder:
        if self._is_gone(run):
            raise RetryLater(f"{self.directory} was emptied")
        assert self._files is not None, "core calls tracker_start_run first"
        return self._files
