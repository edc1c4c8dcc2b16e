"""How does Comet's page get a histogram, whose parts it has given itself, and how is it read back?

Comet counts in parts that grow by a tenth from 1e-12 to 1e20 on both sides of zero. What was logged
stands beside that, under `trackyard`, so that it comes back as it was.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import attrs

from trackyard.contract import Artifact, Histogram, write_whole

_START, _STOP, _STEP = 1e-12, 1e20, 1.1
_MIDDLE = 775
_LAST = 2 * _MIDDLE - 1


def shown_histogram(artifact: Artifact, path: Path) -> Path:
    """Write a histogram as Comet's SDK does, and give the file.

    Args:
        artifact: Of kind `histogram`.
        path: The file.
    """
    histogram = Histogram.read(artifact.path)
    counts: Counter[int] = Counter()
    parts = zip(histogram.edges[:-1], histogram.edges[1:], histogram.counts, strict=True)
    for left, right, count in parts:
        counts[_part_of((left + right) / 2)] += int(count)
    content = {
        "version": 2,
        "index_values": [[part, count] for part, count in sorted(counts.items()) if count > 0],
        "values": None,
        "offset": 0,
        "start": _START,
        "stop": _STOP,
        "step": _STEP,
        "trackyard": histogram.to_json(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content))
    return path


def portable_histogram(path: Path, place: Path) -> Path:
    """Write a histogram that Comet's SDK has made as a portable one, and give the file.

    Args:
        path: The SDK's file.
        place: The file to write. Where the SDK's is another one than it is today, that is given.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        counts = {int(part): count for part, count in content["index_values"]}
        is_known = (content["start"], content["stop"], content["step"]) == (_START, _STOP, _STEP)
    except (OSError, ValueError, KeyError, TypeError):
        return path
    if not counts or not is_known:
        return path
    # The empty parts between two others are one.
    lefts = sorted(set(counts) | {part + 1 for part in counts})
    edges = tuple(_left_edge(part) for part in lefts)
    found = Histogram(tuple(counts.get(part, 0) for part in lefts[:-1]), edges)
    write_whole(place, found.to_json())
    return place


def own_histogram(path: Path) -> Path:
    """Give the file of a histogram as it was logged; that of Comet's own where it is none of ours.

    Args:
        path: A file of Comet's.
    """
    try:
        text = json.loads(path.read_text(encoding="utf-8"))["trackyard"]
    except (OSError, ValueError, KeyError, TypeError):
        return path
    own = path.with_name(f"{path.name}.own")
    own.write_text(str(text), encoding="utf-8")
    return own


def taken_over(artifact: Artifact, place: Path) -> Artifact:
    """Give a histogram as every tracker takes it; one of an unknown form is a file.

    Args:
        artifact: Of kind `histogram`.
        place: The file to write where that is needed.
    """
    path = own_histogram(artifact.path)
    if not _is_portable(path):
        path = portable_histogram(path, place)
    if not _is_portable(path):
        return attrs.evolve(artifact, kind="file")
    name = artifact.name if artifact.name.endswith(".json") else f"{artifact.name}.json"
    return attrs.evolve(artifact, name=name, path=path)


def _is_portable(path: Path) -> bool:
    try:
        Histogram.read(path)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _left_edge(part: int) -> float:
    """Give where a part of Comet's begins; the one before ends there."""
    away = part - _MIDDLE
    if away == 0:
        return 0.0
    return _START * _STEP ** (away - 1) if away > 0 else -_START * _STEP ** (-1 - away)


def _part_of(value: float) -> int:
    """Give the number of the part in which Comet counts a value."""
    if abs(value) >= _STOP:
        return 0 if value < 0 else _LAST
    if abs(value) < 1e-20:
        return _MIDDLE
    away = math.ceil(math.log(abs(value) / _START, _STEP))
    return _MIDDLE + away if value > 0 else _MIDDLE - 1 - away
