"""What does TensorBoard show of a record, and of a run as a whole?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.contract import Artifact, Batch, Context, Failure, Histogram, Run, put_file
from trackyard_tensorboard.events import encoded, new_event, tag_of

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

# Longer texts, and longer tables, are files beside the event files alone: a page has to draw them.
MOST_CHARACTERS = 100_000
MOST_ROWS = 200

# DT_DOUBLE and DT_STRING in TensorFlow's types.proto, DATA_CLASS_TENSOR in its summary.proto
_DOUBLE, _STRING, _TENSOR = 2, 7, 2
_STATE = "trackyard"  # a plugin that TensorBoard does not have, and hence passes over


# The tag that says what a run is called, where its folder has not the whole name.
NAME = "trackyard.name"


@attrs.define
class RunState:
    """What is true of a run as a whole.

    Attributes:
        started_at: In nanoseconds.
        params, tags: By key.
        ended_at: In nanoseconds, or None while it runs.
        status: How it ended, or `running`.
    """

    started_at: int
    params: dict[str, Any] = attrs.field(factory=dict)
    tags: dict[str, str] = attrs.field(factory=dict)
    ended_at: int | None = None
    status: str = "running"

    def note_context(self, context: Context | None) -> None:
        """Note where the run comes from, as tags: the page shows their texts."""
        if context is not None:
            own = {**context.tags, "trackyard.packages": context.requirements}
            self.tags = {**{key: text for key, text in own.items() if text}, **self.tags}

    def reopen(self) -> None:
        """Let the run be running again: nothing says any more how it had ended."""
        self.ended_at, self.status = None, "running"
        for key in ("trackyard.status", "trackyard.failure", "trackyard.traceback"):
            self.tags.pop(key, None)

    def end(self, run: Run, failure: Failure | None) -> None:
        """Note how the run ended.

        Args:
            run: The run, with `ended_at`.
            failure: Why it did not finish, or None.
        """
        self.ended_at = run.ended_at or self.started_at
        self.status = self.tags["trackyard.status"] = failure.status if failure else "finished"
        if failure:
            self.tags["trackyard.failure"] = f"{failure.kind}: {failure.message}"
            if failure.traceback:
                self.tags["trackyard.traceback"] = failure.traceback


def metric_events(batch: Batch) -> Iterator[bytes]:
    """Make an event of each row, with a scalar for each number."""
    for step, timestamp, row in batch.rows():
        event = new_event(timestamp, step)
        for key, value in row.items():
            event.summary.value.add(tag=key, simple_value=value)
        yield encoded(event, timestamp, row.values())


def artifact_event(artifact: Artifact) -> bytes | None:
    """Make an event of what the page can show of an artifact; None where that is nothing."""
    event = new_event(artifact.timestamp, artifact.step)
    if artifact.kind in ("image", "figure", "video"):  # of videos GIFs, which are images
        is_shown = _add_image(event, artifact)
    elif artifact.kind == "histogram":
        is_shown = _add_histogram(event, artifact)
    elif artifact.kind == "audio":
        is_shown = _add_audio(event, artifact)
    elif artifact.kind in ("text", "table"):
        is_shown = _add_document(event, artifact)
    else:
        is_shown = False
    return encoded(event, artifact.timestamp) if is_shown else None


def run_events(state: RunState) -> Iterator[bytes]:
    """Make the events of what is true of the run as a whole: hyperparameters, tags, status."""
    started = new_event(state.started_at)
    value = started.summary.value.add(tag="trackyard/run")
    value.metadata.plugin_data.plugin_name = _STATE
    value.metadata.plugin_data.content = json.dumps(attrs.asdict(state)).encode()
    _add_hyperparameters(started.summary, state)
    for key, text in sorted(state.tags.items()):
        _add_text(started.summary, f"tags/{key}", _as_code(text) if "\n" in text else text)
    yield bytes(started.SerializeToString())
    if state.ended_at is not None:
        ended = new_event(state.ended_at)
        _add_end(ended.summary, state)
        yield bytes(ended.SerializeToString())


def state_in(event: Event) -> RunState | None:
    """Give the state that `run_events` has put into an event, if this is the one."""
    for value in event.summary.value:
        plugin = value.metadata.plugin_data
        if plugin.plugin_name == _STATE:
            said = json.loads(plugin.content)
            known = {field.name for field in attrs.fields(RunState)}
            return RunState(**{key: said[key] for key in known & said.keys()})  # others are newer
    return None


def _add_hyperparameters(summary: Summary, state: RunState) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo(start_time_secs=state.started_at / 1e9)
    for key, value in state.params.items():
        if isinstance(value, bool):
            info.hparams[key].bool_value = value
        elif isinstance(value, int | float) and math.isfinite(value):
            info.hparams[key].number_value = value
        else:
            info.hparams[key].string_value = str(value)
    data = HParamsPluginData(session_start_info=info)
    _add_metadata(summary, "_hparams_/session_start_info", "hparams", data.SerializeToString())


def _add_end(summary: Summary, state: RunState) -> None:
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = "STATUS_SUCCESS" if state.status == "finished" else "STATUS_FAILURE"
    assert state.ended_at is not None
    info = SessionEndInfo(status=Status.Value(status), end_time_secs=state.ended_at / 1e9)
    data = HParamsPluginData(session_end_info=info)
    _add_metadata(summary, "_hparams_/session_end_info", "hparams", data.SerializeToString())


def _add_metadata(summary: Summary, tag: str, plugin: str, content: bytes) -> Summary.Value:
    value = summary.value.add(tag=tag)
    value.metadata.plugin_data.plugin_name = plugin
    value.metadata.plugin_data.content = content
    return value


def _add_text(summary: Summary, tag: str, text: str) -> None:
    value = _add_metadata(summary, tag, "text", b"")
    value.tensor.dtype = _STRING
    value.tensor.string_val.append(text.encode("utf-8", "backslashreplace"))
    value.tensor.tensor_shape.dim.add(size=1)


def _add_image(event: Event, artifact: Artifact) -> bool:
    from PIL import Image

    try:
        with Image.open(artifact.path) as image:
            width, height = image.size
            channels = len(image.getbands())
    except OSError:  # SVG, PDF: what is no picture of points
        return False
    value = event.summary.value.add(tag=tag_of(artifact))
    value.image.height, value.image.width = height, width
    value.image.colorspace = channels
    value.image.encoded_image_string = artifact.path.read_bytes()
    return True


def _add_histogram(event: Event, artifact: Artifact) -> bool:
    """Add the left edge, the right edge and the count of each part."""
    from tensorboard.plugins.histogram.plugin_data_pb2 import HistogramPluginData

    histogram = Histogram.read(artifact.path)
    content = HistogramPluginData(version=0).SerializeToString()
    value = _add_metadata(event.summary, tag_of(artifact), "histograms", content)
    value.metadata.data_class = _TENSOR
    value.tensor.dtype = _DOUBLE
    parts = zip(histogram.edges[:-1], histogram.edges[1:], histogram.counts, strict=True)
    value.tensor.double_val.extend(float(number) for part in parts for number in part)
    for size in (len(histogram.counts), 3):
        value.tensor.tensor_shape.dim.add(size=size)
    return True


def _add_audio(event: Event, artifact: Artifact) -> bool:
    import wave

    try:
        with wave.open(str(artifact.path), "rb") as sound:
            channels, rate, frames = sound.getnchannels(), sound.getframerate(), sound.getnframes()
    except (wave.Error, EOFError):  # TensorBoard plays WAV alone
        return False
    value = event.summary.value.add(tag=tag_of(artifact))
    value.audio.num_channels, value.audio.sample_rate = channels, rate
    value.audio.length_frames, value.audio.content_type = frames, "audio/wav"
    value.audio.encoded_audio_string = artifact.path.read_bytes()
    return True


def _add_document(event: Event, artifact: Artifact) -> bool:
    text = artifact.path.read_text(encoding="utf-8", errors="replace")
    if artifact.kind == "table":
        text = _as_markdown_table(text)
    elif artifact.path.suffix not in (".md", ".txt"):
        text = _as_code(text)
    if len(text) > MOST_CHARACTERS:
        return False
    _add_text(event.summary, tag_of(artifact), text)
    return True


def _as_markdown_table(text: str) -> str:
    table: Mapping[str, Any] = json.loads(text)
    rows = [table["columns"], ["---"] * len(table["columns"]), *table["data"][:MOST_ROWS]]
    cells = ([str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _as_code(text: str) -> str:
    """Text as it is, without markdown's marks."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def copied(artifact: Artifact, folder: Path) -> Path:
    """Put a copy of an artifact into a folder, whole or not at all.

    Args:
        artifact: The artifact, whose name is the copy's path.
        folder: The folder.
    """
    target = folder / artifact.name
    put_file(artifact.path, target, by_link=artifact.is_final)
    return target
