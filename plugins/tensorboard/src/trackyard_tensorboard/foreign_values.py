"""What is a value of a summary that any writer wrote, as records?

Old writers have a field for each kind, new ones tensors and the name of a plugin, which stands in
the first event of a tag alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import Artifact, Histogram, ImportNote, Metric, Param, Record

Piece = Record | ImportNote
_SCALARS, _TEXT_SUMMARY = "scalars", "/text_summary"
# Types of tensors, in TensorFlow's types.proto: how numbers lie in `tensor_content`.
_PACKED = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 22: "I", 23: "Q"}
_FIELDS = ("float_val", "double_val", "int_val", "int64_val", "bool_val", "uint32_val")


@attrs.define
class Values:
    """Reads the values of one run.

    Attributes:
        scratch: Where files are written.
        status: What hyperparameters say of the run's end, or None.
        started_at, ended_at: Likewise, in nanoseconds since the epoch.
    """

    scratch: Path
    status: str | None = None
    started_at: int | None = None
    ended_at: int | None = None
    _plugins: dict[str, str] = attrs.field(factory=dict)
    _numbers: Iterator[int] = attrs.field(factory=count)
    _graphs: int = 0

    def of_value(self, value: Any, step: int, timestamp: int) -> Iterator[Piece]:
        """Give the records of a value that is no plain number.

        Args:
            value: The value.
            step: The event's step.
            timestamp: The event's time, in nanoseconds.
        """
        plugin = value.metadata.plugin_data
        name = plugin.plugin_name or self._plugins.get(value.tag, "")
        if plugin.plugin_name:
            self._plugins[value.tag] = name
        if value.HasField("tensor") and name in ("", _SCALARS):
            numbers = numbers_in(value.tensor)
            if len(numbers) == 1:
                yield Metric(value.tag, numbers[0], step, timestamp)
                return
        if name == "hparams":
            yield from self._hyperparameters(plugin.content)
            return
        artifacts = self._artifacts(value, name)
        yield from (attrs.evolve(a, step=step, timestamp=timestamp) for a in artifacts)

    def of_graph(self, data: bytes, suffix: str, timestamp: int) -> Artifact:
        """Give a graph as a file.

        Args:
            data: Its bytes.
            suffix: Of the file's name.
            timestamp: The event's time, in nanoseconds.
        """
        name = f"graph{self._graphs or ''}{suffix}"
        self._graphs += 1
        return Artifact(name, self._file(data, suffix), "file", timestamp=timestamp)

    def _artifacts(self, value: Any, name: str) -> Iterator[Artifact]:
        tag, tensor = value.tag, value.tensor
        if value.HasField("image"):
            yield self._image(tag, value.image.encoded_image_string)
        elif value.HasField("audio"):
            yield self._audio(tag, value.audio.encoded_audio_string)
        elif value.HasField("histo"):
            yield self._histogram(tag, *of_buckets(value.histo))
        elif name == "images":
            for number, data in enumerate(tensor.string_val[2:]):
                yield self._image(f"{tag}/{number}" if number else tag, data)
        elif name == "audio":
            sounds = tensor.string_val[::2] if _rank(tensor) == 2 else tensor.string_val
            for number, data in enumerate(sounds):
                yield self._audio(f"{tag}/{number}" if number else tag, data)
        elif name == "histograms" and (parts := numbers_in(tensor)):
            edges = [*parts[::3], parts[-2]]
            yield self._histogram(tag, edges, parts[2::3])
        elif name == "text" or (tensor.string_val and tag.endswith(_TEXT_SUMMARY)):
            data = b"\n\n".join(tensor.string_val)
            path = self._file(data, ".txt")
            yield Artifact(f"{tag.removesuffix(_TEXT_SUMMARY)}.txt", path, "text", "text/plain")
        else:
            yield Artifact(f"{tag}.pb", self._file(value.SerializeToString(), ".pb"), "file")

    def _image(self, tag: str, data: bytes) -> Artifact:
        suffix, media_type = _kind_of_image(data)
        return Artifact(f"{tag}{suffix}", self._file(data, suffix), "image", media_type)

    def _audio(self, tag: str, data: bytes) -> Artifact:
        return Artifact(f"{tag}.wav", self._file(data, ".wav"), "audio", "audio/wav")

    def _histogram(self, tag: str, edges: list[float], counts: list[float]) -> Artifact:
        text = Histogram(tuple(counts), tuple(edges)).to_json()
        path = self._file(text.encode(), ".json")
        return Artifact(f"{tag}.json", path, "histogram", "application/json")

    def _hyperparameters(self, content: bytes) -> Iterator[Piece]:
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        data = HParamsPluginData.FromString(content)
        if data.HasField("session_start_info"):
            info = data.session_start_info
            self.started_at = round(info.start_time_secs * 1e9) or self.started_at
            for key, value in sorted(info.hparams.items()):
                yield Param(key, getattr(value, value.WhichOneof("kind") or "string_value"))
        elif data.HasField("session_end_info"):
            info = data.session_end_info
            self.ended_at = round(info.end_time_secs * 1e9) or self.ended_at
            self.status = {1: "finished", 2: "failed", 3: "running"}.get(info.status, self.status)

    def _file(self, data: bytes, suffix: str) -> Path:
        path = self.scratch / f"{next(self._numbers)}{suffix}"
        path.write_bytes(data)
        return path


def numbers_in(tensor: Any) -> list[float]:
    """Give the numbers of a tensor in their order; none where it holds something else.

    Args:
        tensor: The tensor.
    """
    for field in _FIELDS:
        found = getattr(tensor, field)
        if found:
            return [float(number) for number in found]
    letter, data = _PACKED.get(tensor.dtype), tensor.tensor_content
    if not letter or not data:
        return []
    whole = len(data) // struct.calcsize(letter)
    return [float(number) for number in struct.unpack_from(f"<{whole}{letter}", data)]


def of_buckets(histogram: Any) -> tuple[list[float], list[float]]:
    """Give edges and counts of a histogram of old: each bucket has its right edge.

    Args:
        histogram: As the summary has it.
    """
    edges, counts = [histogram.min], []
    for limit, number in zip(histogram.bucket_limit, histogram.bucket, strict=False):
        right = min(limit, histogram.max) if number else limit
        if right <= edges[-1] and not number:
            continue  # below the least value
        edges.append(max(right, edges[-1]))
        counts.append(number)
    return edges, counts


def _rank(tensor: Any) -> int:
    return len(tensor.tensor_shape.dim)


def _kind_of_image(data: bytes) -> tuple[str, str]:
    if data.startswith(b"\xff\xd8"):
        return ".jpg", "image/jpeg"
    if data.startswith(b"GIF8"):
        return ".gif", "image/gif"
    return ".png", "image/png"
