"""How does what TensorBoard's own writers write become records of the run?

Both writers that people use, tensorboardX's and TensorBoard's own (torch's, too), give each event
to `EventFileWriter.add_event`, whichever folder they write to. While runs are active it is wrapped.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import (
    Artifact,
    Capture,
    Histogram,
    Metric,
    Param,
    Record,
    after_import,
    process_values,
    step_of_caller,
)
from trackyard_tensorboard.foreign_values import of_buckets

_WRITERS = ("tensorboardX.event_file_writer", "tensorboard.summary.writer.event_file_writer")
# What both writers put behind the tag of a text.
_TEXT = "/text_summary"


@attrs.define(eq=False)
class _Active:
    """A run that is active, and what takes its events.

    Attributes:
        folder: Where its own writers write.
        capture: Takes the records.
        thread, process: Those of the step.
        strays: The folders elsewhere that writers of the step have named, in their order.
    """

    folder: str
    capture: Capture
    thread: int = attrs.field(factory=threading.get_ident)
    process: int = attrs.field(factory=os.getpid)
    strays: list[str] = attrs.field(factory=list)

    def has(self, log_dir: str) -> bool:
        """Tell whether a writer's folder is the run's, or below it."""
        return log_dir == self.folder or log_dir.startswith(f"{self.folder}{os.sep}")


_active: list[_Active] = []
# One for each class, so that runs that overlap share it.
_wrappers: dict[type, Callable[..., None]] = {}


@contextmanager
def captured(folder: Path, capture: Capture) -> Iterator[Callable[[Path, Capture], None]]:
    """Give what native writers write inside a block to a run's journal.

    What it gives has a child run take what is written to a folder of its own.

    Args:
        folder: The run's folder, where it has what is written there already.
        capture: Takes the records. What is written to folders elsewhere has these for its
            remote id.
    """

    def add(folder: Path, capture: Capture) -> None:
        active = _Active(str(folder), capture)
        _active.append(active)
        held.callback(_active.remove, active)

    with ExitStack() as held:
        add(folder, capture)
        for module in _WRITERS:
            wrap = partial(_wrap, held, module)
            if module in sys.modules:
                wrap()
            else:
                held.enter_context(after_import(module, wrap))
        yield add


def _wrap(held: ExitStack, module: str) -> None:
    writer_class = sys.modules[module].EventFileWriter
    if writer_class not in _wrappers:
        _wrappers[writer_class] = _capturing(writer_class.add_event)
    wrapper = _wrappers[writer_class]
    held.enter_context(process_values({}, [(writer_class, "add_event", wrapper)]))


def _capturing(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    @wraps(original)
    def add_event(self: Any, event: Any) -> None:
        original(self, event)
        if event.HasField("summary"):
            log_dir = str(self._logdir)
            active = _run_of(log_dir)
            if active is not None:
                _capture(active, log_dir, event)

    return add_event


def _run_of(log_dir: str) -> _Active | None:
    """Give the run that a writer's events belong to: that of the folder, else of the thread."""
    for active in _active:
        if active.has(log_dir):
            return active
    return step_of_caller(_active, in_forks=True)


def _capture(active: _Active, log_dir: str, event: Any) -> None:
    is_own = active.has(log_dir)
    prefix = "" if log_dir == active.folder else _prefix(active, log_dir, is_own=is_own)
    with ExitStack() as files:
        records = records_of(event, prefix, partial(_file, files))
        if records:
            active.capture(records, "", None if is_own else os.path.realpath(log_dir))


def records_of(event: Any, prefix: str, keep: Callable[[bytes], Path]) -> list[Record]:
    """Give the records of an event of a summary.

    Args:
        event: The event.
        prefix: The folder of its file below that of the run, or an empty text.
        keep: Writes a file of what is no number.
    """
    timestamp = round(event.wall_time * 1e6) * 1000
    records: list[Record] = []
    for value in event.summary.value:
        key = _key(value.tag, prefix) if prefix else value.tag
        if value.HasField("simple_value"):
            records.append(Metric(key, value.simple_value, event.step, timestamp))
        else:
            records += _others(value, key, event.step, timestamp, keep)
    return records


def _prefix(active: _Active, log_dir: str, *, is_own: bool) -> str:
    """Give what tells the keys of this folder from those of others of the run."""
    if is_own:
        return os.path.relpath(log_dir, active.folder)
    if log_dir not in active.strays:
        active.strays.append(log_dir)
    return "" if log_dir == active.strays[0] else Path(log_dir).name


def _key(tag: str, folder: str) -> str:
    """Give the key of what stands under a tag in a folder below a run's.

    `add_scalars` makes one for each of its values, named by tag and value with a slash
    (tensorboardX) or an underline (torch), and `add_hparams` one that is named by the time.
    """
    if folder.startswith(f"{tag}/"):
        return folder
    flat = tag.replace("/", "_") + "_"
    if folder.startswith(flat):
        return f"{tag}/{folder.removeprefix(flat)}"
    if folder.replace(".", "", 1).isdigit():
        return tag
    return f"{folder}/{tag}"


def _others(
    value: Any, key: str, step: int, timestamp: int, keep: Callable[[bytes], Path]
) -> list[Record]:
    """Give the records of what is no number; none for what has no portable form."""
    plugin = value.metadata.plugin_data
    if value.HasField("image"):
        artifact = _image(key, value.image.encoded_image_string, keep)
    elif value.HasField("audio"):
        artifact = Artifact(
            f"{key}.wav", keep(value.audio.encoded_audio_string), "audio", "audio/wav"
        )
    elif value.HasField("histo"):
        edges, counts = of_buckets(value.histo)
        parts = Histogram(tuple(counts), tuple(edges)).to_json().encode()
        artifact = Artifact(f"{key}.json", keep(parts), "histogram", "application/json")
    elif plugin.plugin_name == "text":
        text = b"\n\n".join(value.tensor.string_val)
        name = f"{key.removesuffix(_TEXT)}.txt"
        artifact = Artifact(name, keep(text), "text", "text/plain")
    else:
        return _params(plugin.content) if plugin.plugin_name == "hparams" else []
    return [attrs.evolve(artifact, step=step, timestamp=timestamp)]


def _image(key: str, content: bytes, keep: Callable[[bytes], Path]) -> Artifact:
    """Give an image; writers write a video as one, too."""
    if content.startswith(b"GIF8"):
        return Artifact(f"{key}.gif", keep(content), "video", "image/gif")
    return Artifact(f"{key}.png", keep(content), "image", "image/png")


def _file(files: ExitStack, content: bytes) -> Path:
    """Write a file for as long as it is being captured."""
    path = Path(files.enter_context(tempfile.TemporaryDirectory(prefix="trackyard-")), "content")
    path.write_bytes(content)
    return path


def _params(content: bytes) -> list[Record]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    data = HParamsPluginData.FromString(content)
    if not data.HasField("session_start_info"):
        return []
    return [
        Param(key, getattr(value, value.WhichOneof("kind") or "string_value"))
        for key, value in data.session_start_info.hparams.items()
    ]
