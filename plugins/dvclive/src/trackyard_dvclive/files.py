"""How does a run lie in a folder of DVCLive's, so that it goes on after a crash, each point once?

As `dvclive.Live` writes it (dvclive 3.49, `dvclive/plots/metric.py` and `live.py`), so that `dvc`,
its extension of VS Code and DVC Studio read it:

* `plots/metrics/train/loss.tsv`: a row for each point: time in milliseconds, step, value.
* `metrics.json`: the last value of each metric, as a tree.
* `params.yaml`, `plots/images/`, `artifacts/`.

What DVCLive has no place for is in `trackyard.json`: name, tags, status.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import Artifact, Metric, Param, Record, Tag, put_file, write_whole

# Rows of this process that are recognised when they come again: more than a batch holds.
_RECENT = 5000

_METRICS, _IMAGES, _ARTIFACTS = "plots/metrics", "plots/images", "artifacts"
_SHOWN = frozenset({"image", "figure"})


@attrs.define
class RunState:
    """What is true of a run as a whole.

    Attributes:
        name: What it is called.
        tags, params: By key.
        keys: Names of metrics' files that had to differ from the metric's own, with that.
    """

    name: str = ""
    tags: dict[str, str] = attrs.field(factory=dict)
    params: dict[str, Any] = attrs.field(factory=dict)
    keys: dict[str, str] = attrs.field(factory=dict)


class RunFiles:
    """The folder of a run.

    Args:
        folder: Where; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.state = read_state(folder)
        self._last: dict[str, float] = {}
        # What a process before this one has written, and may be about to send once more.
        self._held: set[tuple[str, str]] = set()
        self._recent: dict[tuple[str, str], None] = {}  # what this process has written last
        for path in sorted((folder / _METRICS).rglob("*.tsv")):
            _cut_torn_row(path)
            name = _name_of(path, folder)
            for metric, row in _rows(path, self.state.keys.get(name, name)):
                self._held.add((metric.key, row))
                self._last[metric.key] = metric.value

    def keep_state(self) -> None:
        """Write what is true of the run as a whole, with its params as DVCLive has them."""
        import yaml

        data = yaml.safe_dump(self.state.params, sort_keys=False, allow_unicode=True)
        write_whole(self._folder / "params.yaml", data, mode=0o644)
        write_whole(self._folder / "trackyard.json", json.dumps(attrs.asdict(self.state), indent=1))

    def append(self, metrics: Iterable[Metric]) -> None:
        """Append points, all of them or none; those that are there already are left out."""
        new: dict[str, list[str]] = {}
        added: dict[tuple[str, str], None] = {}
        for metric in metrics:
            row = _row_of(metric)
            if (metric.key, row) not in self._held and (metric.key, row) not in self._recent:
                new.setdefault(metric.key, []).append(row)
                added[metric.key, row] = None
            self._last[metric.key] = metric.value
        names = {key: _file_name(key) for key in new}
        renamed = {name: key for key, name in names.items() if name != key}
        if not renamed.items() <= self.state.keys.items():
            self.state.keys.update(renamed)
            self.keep_state()
        sizes: dict[Path, int] = {}
        try:
            for key, rows in new.items():
                path = self._folder / _METRICS / f"{names[key]}.tsv"
                sizes[path] = _append(path, key, rows)
        except OSError:
            for path, size in sizes.items():
                os.truncate(path, size)
            raise
        self._recent.update(added)
        for oldest in list(islice(self._recent, max(0, len(self._recent) - _RECENT))):
            del self._recent[oldest]
        if new:
            text = json.dumps(_tree(self._last), indent=4, allow_nan=False)
            write_whole(self._folder / "metrics.json", text, mode=0o644)

    def keep(self, artifact: Artifact) -> None:
        """Copy a file to where DVCLive shows it, or to the others."""
        folder = _IMAGES if artifact.kind in _SHOWN else _ARTIFACTS
        put_file(artifact.path, self._folder / folder / artifact.name, by_link=artifact.is_final)


def read_state(folder: Path) -> RunState:
    """Give what was noted of a run as a whole; nothing before its start."""
    try:
        return RunState(**json.loads((folder / "trackyard.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return RunState()


def read_records(folder: Path) -> Iterator[Record]:
    """Read params, tags, metrics and files of a run."""
    state = read_state(folder)
    for key, value in state.params.items():
        yield Param(key, value)
    for key, text in state.tags.items():
        yield Tag(key, text)
    for path in sorted((folder / _METRICS).rglob("*.tsv")):
        name = _name_of(path, folder)
        for metric, _ in _rows(path, state.keys.get(name, name)):
            yield metric
    for kept, kind in ((folder / _IMAGES, "image"), (folder / _ARTIFACTS, "file")):
        for path in sorted(path for path in kept.rglob("*") if path.is_file()):
            yield Artifact(path.relative_to(kept).as_posix(), path, kind)  # type: ignore[arg-type]


def _row_of(metric: Metric) -> str:
    milliseconds, rest = divmod(metric.timestamp, 10**6)
    time = f"{milliseconds}.{rest:06d}" if rest else str(milliseconds)
    return f"{time}\t{metric.step}\t{metric.value!r}"


def _rows(path: Path, key: str) -> Iterator[tuple[Metric, str]]:
    """Read whole rows of a metric's file, each with its text."""
    with path.open(encoding="utf-8", newline="") as file:
        next(file, None)  # the header
        for line in file:
            if line.endswith("\n"):
                time, step, value = line.rstrip("\n").split("\t")
                milliseconds, _, rest = time.partition(".")
                timestamp = int(milliseconds) * 10**6 + int(rest or 0)
                yield Metric(key, float(value), int(step), timestamp), line.rstrip("\n")


def _append(path: Path, key: str, rows: Iterable[str]) -> int:
    """Append rows to a metric's file; give the size that it had."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        name = re.sub(r"[\t\r\n]", " ", key.rpartition("/")[2])
        head = [] if size else [f"timestamp\tstep\t{name}"]
        data = "".join(f"{row}\n" for row in (*head, *rows)).encode()
        try:
            written = file.write(data)
            if written < len(data):
                raise OSError(f"{path}: only {written} of {len(data)} bytes fit")
        except OSError:
            file.truncate(size)
            raise
    return size


def _cut_torn_row(path: Path) -> None:
    """Remove what a process that was killed has written of a row: it comes again."""
    with path.open("rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)


def _name_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder / _METRICS).as_posix().removesuffix(".tsv")


def _file_name(key: str) -> str:
    """Give the path of a metric's file, without suffix: the key where a file may be called so."""
    parts = [re.sub(r"[^\w.+=@() -]", "_", part).lstrip(".")[:60] for part in key.split("/")]
    name = "/".join(part or "_" for part in parts[:8])
    if name == key:
        return key
    return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _tree(values: Mapping[str, float]) -> dict[str, Any]:
    """Give last values as DVCLive nests them; a key that is a folder, too, stays beside it."""
    tree: dict[str, Any] = {}
    for key, value in sorted(values.items()):
        *folders, last = key.split("/")
        place: Any = tree
        for folder in folders:
            place = place.setdefault(folder, {}) if isinstance(place, dict) else None
        shown: Any = value if math.isfinite(value) else str(value)
        if isinstance(place, dict) and not isinstance(place.get(last), dict):
            place[last] = shown
        else:
            tree[key] = shown
    return tree
