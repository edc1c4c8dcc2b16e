"""Which rows of Trackio's does a record become, and which record is a row?

Trackio keeps rows: a step, a time, and values by name. The id of a row, by which Trackio drops what
comes twice, holds the run, the time in nanoseconds and whether there was a step.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from trackyard.contract import Artifact, Batch, Histogram, Metric, Param, Record, Run, Tag

TAGS = "tags"  # of the run's config, where Trackio has no tags
# Longer texts, and longer tables, are files alone: a page has to draw them.
MOST_CHARACTERS = 100_000
MOST_ROWS = 200

_RESERVED = {"project", "run", "timestamp", "step", "time", "metrics"}
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_Kind = Literal["file", "image", "table", "text", "html", "histogram", "audio", "video"]
KINDS: tuple[_Kind, ...] = get_args(_Kind)


@attrs.frozen
class Row:
    """One row.

    Attributes:
        id: Unique in the project; the same each time that the row is sent.
        step: Training step; without one Trackio gives the next.
        timestamp: In nanoseconds.
        values: Numbers and media by name.
    """

    id: str
    step: int | None
    timestamp: int
    values: Mapping[str, Any]

    @property
    def time(self) -> str:
        """The time as Trackio writes it."""
        return as_time(self.timestamp)

    @property
    def of_machine(self) -> dict[str, Any]:
        """What the row says of the machine, which Trackio shows on a page of its own, too."""
        return {
            key.removeprefix("system/"): value
            for key, value in self.values.items()
            if key.startswith("system/")
        }


def as_time(timestamp: int) -> str:
    """Write nanoseconds as Trackio does."""
    return datetime.fromtimestamp(timestamp / 1e9, UTC).isoformat(timespec="microseconds")


def without_end(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a config, or of tags, how the run has ended.

    Args:
        values: By key.
    """
    return {k: v for k, v in values.items() if k not in ("trackyard.status", "trackyard.failure")}


def project_name(text: str) -> str:
    """Give a project that Trackio takes: some names would be files of another project."""
    name = text.encode()[:120].decode(errors="ignore")
    letters = "".join(c for c in name if c.isalnum() or c in "-_")
    tables = r"system|configs|traces|artifacts|artifact_\w+|run_artifact\w*"
    is_taken = letters.startswith("registry-") or re.search(rf"_({tables})$", letters)
    return f"trackyard-{name}-runs" if is_taken else name


def run_name(run: Run) -> str:
    """Give a name that may be part of a path, as Trackio makes it one."""
    return shown_name(run.name)


def shown_name(name: str) -> str:
    """Give a name likewise."""
    return re.sub(r"[/\\\x00-\x1f]", "_", name)[:60].lstrip(".") or "run"


def first_row(run: Run) -> Row:
    """Give the row that makes a run one in Trackio, which knows runs by their rows."""
    return Row(f"{run.id}:start", 0, run.started_at, {})


def metric_rows(run: Run, batch: Batch) -> Iterator[Row]:
    """Give the rows of a batch's metrics.

    Args:
        run: The run.
        batch: The batch.
    """
    for step, timestamp, values in batch.rows():
        yield _row(run, step, timestamp, {_stored(key): value for key, value in values.items()})


def artifact_row(run: Run, artifact: Artifact, place: str) -> Row:
    """Give the row of an artifact: what the page shows of it, and where its file is.

    Args:
        run: The run.
        artifact: The artifact.
        place: Its file, relative to Trackio's folder for media.
    """
    shown: dict[str, Any] = {"_type": "trackyard.file"}
    if artifact.kind in ("image", "html", "audio", "video"):
        shown = {"_type": f"trackio.{artifact.kind}", "caption": artifact.name}
    elif artifact.kind == "histogram":
        histogram = Histogram.read(artifact.path)
        shown = {"_type": "trackio.histogram", "bins": list(histogram.edges)}
        shown["values"] = list(histogram.counts)
    elif artifact.kind == "table":
        content = json.loads(artifact.path.read_text(encoding="utf-8"))
        columns = [_shown(column) for column in content["columns"]]
        lines = [
            dict(zip(columns, map(_shown, row), strict=False))
            for row in content["data"][:MOST_ROWS]
        ]
        shown = {"_type": "trackio.table", "_value": lines}
    elif artifact.kind == "text":
        text = artifact.path.read_text(encoding="utf-8", errors="replace")
        if len(text) <= MOST_CHARACTERS:
            shown = {"_type": "trackio.markdown", "_value": text}
    shown |= {"file_path": place, "kind": artifact.kind, "media_type": artifact.media_type}
    return _row(run, artifact.step, artifact.timestamp, {_stored(_shown_name(artifact)): shown})


def records_of(run_id: str, rows: Iterable[tuple[str | None, int, str, str]]) -> Iterator[Record]:
    """Read rows, which are an id, a step, a time and values in JSON; also those of native calls.

    The path of an artifact is relative to the folder for media.

    Args:
        run_id: The run's id, with which ids of our rows begin.
        rows: The rows.
    """
    for id_, step, time, text in rows:
        is_ours = id_ is not None and id_.startswith(f"{run_id}:")
        parts = id_.split(":") if id_ and is_ours else []
        if parts[1:] == ["start"]:
            continue
        moment = int(parts[1]) if parts else nanoseconds_of(time)
        known = None if parts and parts[2] == "next" else step
        for name, value in logged_values(text):
            key = name.removeprefix("__") if is_ours else name
            if isinstance(value, dict):
                yield from _artifact_of(key, value, known, moment)
            elif _is_number(value) or (isinstance(value, str) and value in _SPECIAL):
                yield Metric(key, float(_SPECIAL.get(str(value), value)), known, moment)
            elif value is not None:
                yield Tag(key, value if isinstance(value, str) else json.dumps(value))


def logged_values(text: str) -> Iterator[tuple[str, Any]]:
    """Give what a row holds; nested values by their path.

    Args:
        text: The row's values in JSON.
    """
    for key, value in json.loads(text).items():
        yield from _leaves(key, value)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value.keys().isdisjoint(("_type", "file_path")):
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, value


def config_records(config: Mapping[str, Any]) -> Iterator[Record]:
    """Read a run's config: params, those that are nested under their paths, and tags."""
    for key, value in config.items():
        if key == TAGS and isinstance(value, dict):
            yield from (Tag(name, str(text)) for name, text in value.items())
        elif key in ("trackyard.status", "trackyard.failure"):  # shown beside the params
            yield Tag(key, str(value))
        elif not key.startswith("_") or key.startswith("__"):
            yield from _params_of(key.removeprefix("__"), value)


def _params_of(key: str, value: Any) -> Iterator[Param]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _params_of(f"{key}.{name}", inner)
    else:
        yield Param(key, json.dumps(value) if isinstance(value, dict | list) else value)


def config_of(batch: Batch, config: Mapping[str, Any]) -> dict[str, Any]:
    """Give a config with the params and tags of a batch in it.

    Args:
        batch: The batch.
        config: The config so far, which is left as it is.
    """
    params = {_config_key(param.key): _fitting(param.value) for param in batch.params}
    tags = {tag.key: tag.value for tag in batch.tags}
    shown: dict[str, Any] = {}
    if batch.context is not None:
        tags = {**batch.context.tags, "trackyard.packages": batch.context.requirements, **tags}
        shown = {"_Username": batch.context.user}
    return {**config, **shown, **params, TAGS: {**config.get(TAGS, {}), **tags}}


def identity(metric: Metric) -> tuple[Any, ...]:
    """Give what tells one point from all others, also where its value is NaN."""
    return metric.key, metric.step, metric.timestamp, repr(metric.value)


def _row(run: Run, step: float | None, timestamp: int, values: dict[str, Any]) -> Row:
    digest = hashlib.sha256(f"{step} {sorted(values.items())}".encode()).hexdigest()[:16]
    has_step = "next" if step is None else "step"
    whole = None if step is None else int(step)
    return Row(f"{run.id}:{timestamp}:{has_step}:{digest}", whole, timestamp, values)


def _shown(cell: Any) -> Any:
    """Give a cell as the page's JSON holds it, which has no lone surrogates and 64 bits."""
    if isinstance(cell, str):
        return cell.encode("utf-8", "backslashreplace").decode()
    if isinstance(cell, int) and not -(2**63) <= cell < 2**63:
        return str(cell)
    return json.dumps(cell) if isinstance(cell, list | dict) else cell


def _shown_name(artifact: Artifact) -> str:
    """Give the name under which an artifact is shown; that of a histogram has no suffix."""
    is_histogram = artifact.kind == "histogram"
    return artifact.name.removesuffix(".json") if is_histogram else artifact.name


def _stored(key: str) -> str:
    """Write a key that Trackio has for itself as Trackio does."""
    return f"__{key}" if key in _RESERVED or key.startswith("__") else key


def _config_key(key: str) -> str:
    return f"__{key}" if key == TAGS or key.startswith("_") else key


def _fitting(value: Any) -> Any:
    """Write a number as a text that Trackio's JSON cannot hold."""
    is_large = isinstance(value, int) and not -(2**63) <= value < 2**63
    return (
        str(value) if is_large or (isinstance(value, float) and not math.isfinite(value)) else value
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def nanoseconds_of(time: str) -> int:
    """Give a time as Trackio writes it, in nanoseconds since the epoch."""
    return round(datetime.fromisoformat(time).timestamp() * 1e6) * 1000


def _artifact_of(
    name: str, value: Mapping[str, Any], step: int | None, moment: int
) -> Iterator[Artifact]:
    if "file_path" in value:
        # Trackio's own calls say it by the type alone, and their keys have no suffix.
        kind: Any = value.get("kind", str(value.get("_type")).removeprefix("trackio."))
        known: _Kind = kind if kind in KINDS else "file"
        path = Path(value["file_path"])
        if known == "histogram":
            name = f"{name}.json"
        elif "kind" not in value and not name.endswith(path.suffix):
            name = f"{name}{path.suffix}"
        yield Artifact(name, path, known, value.get("media_type"), step, moment)
