"""What do the tests share: a project, runs as a tracker gets them, TensorBoard's reader?"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracked_project import TrackedProject, new_project

from trackyard import Run


class Board(TrackedProject):
    """A project, and TensorBoard's own view of its runs."""

    flavor = "tensorboard"
    name = "board"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.log_dir = root.parent / "home" / "tensorboard"

    def runs(self) -> list[str]:
        """Name the runs as TensorBoard does, by the folders that hold event files."""
        found = {path.parent for path in self.log_dir.rglob("*tfevents*")}
        return sorted(path.relative_to(self.log_dir).as_posix() for path in found)

    def folder(self, name: str) -> Path:
        """Give the folder of the only run whose name begins so."""
        (found,) = [run for run in self.runs() if run.split("/")[1].startswith(f"{name}-")]
        return self.log_dir / found

    def reader(self, name: str) -> Any:
        """Read a run with TensorBoard's own library."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        reader = EventAccumulator(str(self.folder(name)), size_guidance={"scalars": 0})
        return reader.Reload()

    def scalars(self, name: str, tag: str) -> list[tuple[int, float]]:
        return [(each.step, each.value) for each in self.reader(name).Scalars(tag)]

    def text(self, name: str, tag: str) -> str:
        (tensor,) = self.reader(name).Tensors(tag)
        return tensor.tensor_proto.string_val[0].decode()

    def session(self, name: str, part: str) -> Any:
        """Give what the page of hyperparameters reads: the session's start or end."""
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        content = self.reader(name).SummaryMetadata(f"_hparams_/{part}").plugin_data.content
        return getattr(HParamsPluginData.FromString(content), part)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Make a project with the tracker `board` the working directory."""
    board = new_project(Board, tmp_path, monkeypatch)
    monkeypatch.setenv("TRACKYARD_HOME", str(tmp_path / "home"))
    board.configure()
    return board


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Give a function that makes a run as core gives it to a tracker; it is always the same run."""

    started_at = time.time_ns()  # its second is in the names of files

    def make(**fields: Any) -> Run:
        place = tmp_path / "folder"
        place.mkdir(exist_ok=True)
        fields = {"id": "0" * 31 + "1", "name": "made", "experiment": "made", **fields}
        return Run(started_at=started_at, folder=place, **fields)

    return make
