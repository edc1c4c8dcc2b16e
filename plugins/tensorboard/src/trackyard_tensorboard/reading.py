"""What do a run's event files hold, as records?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trackyard.contract import Artifact, Metric, Param, Record, Tag
from trackyard_tensorboard.events import exact_values, read_events, run_files
from trackyard_tensorboard.summaries import RunState, state_in

ARTIFACTS = "artifacts"


def read_state(folder: Path) -> RunState | None:
    """Give what was noted of the run as a whole; None before its start."""
    for path in reversed(run_files(folder)):
        for event in read_events(path):
            state = state_in(event)
            if state is not None:
                return state
    return None


def read_records(folder: Path) -> Iterator[Record]:
    """Read params, tags, metrics and artifacts of a run, with the metrics of native writers."""
    state = read_state(folder)
    if state is not None:
        for key, value in state.params.items():
            yield Param(key, value)
        for key, text in state.tags.items():
            yield Tag(key, text)
    kept = folder / ARTIFACTS
    for path in sorted(folder.rglob("*tfevents*")):
        if path.suffix != ".run" and not path.is_relative_to(kept):
            yield from _read_metrics(path)
    for path in sorted(path for path in kept.rglob("*") if path.is_file()):
        yield Artifact(path.relative_to(kept).as_posix(), path, "file")


def _read_metrics(path: Path) -> Iterator[Metric]:
    """Read the numbers of a file; a native writer's are floats of 32 bits."""
    for event in read_events(path):
        timestamp, numbers = exact_values(event)
        for index, value in enumerate(event.summary.value):
            if value.HasField("simple_value"):
                number = numbers[index] if index < len(numbers) else value.simple_value
                yield Metric(value.tag, number, event.step, timestamp)
