"""What belongs to a run in the store: its params, tags, metrics, curves, artifacts, trackers?

Each is written whole, in the place of what was there before: a second time changes nothing. Values
are cut where an index could not hold them; beside such a one the whole is kept.
"""

from __future__ import annotations

import json
import math
import shlex
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from trackyard.contract.records import NAME, NOTE, encodable
from trackyard.store.databases import Session

# Characters of a value that are indexed and compared; PostgreSQL takes 2,700 bytes.
LONGEST = 250
# So much of a key; one that is longer is not found by search.
LONGEST_KEY = 500
# So much of a value is kept; the journal has the rest.
LONGEST_KEPT = 8192
# So many files of a run are in the index; the journal has the rest.
MOST_ARTIFACTS = 1000

_TRACKER, _URL = "experiment_tracker.", "experiment_tracker_url."


_NUMBERS = (*("last", "least", "greatest", "first", "last_step", "least_step", "greatest_step"),)


def _single(number: float) -> float:
    """Give a number that 4 bytes can hold."""
    most = 3.4028234663852886e38
    return number if math.isnan(number) else max(-most, min(most, number))


@attrs.frozen
class MetricRow:
    """What the store knows of a metric. NaN counts as a point and is never least nor greatest.

    Attributes:
        key: Its name.
        last, first, least, greatest: Its values; None where they are NaN, or none is a number.
        last_step, least_step, greatest_step: The training steps of those, where there are steps.
        points: How often it was logged; 0 where that is not known.
        curve: A few of its points, packed: a step and a value of 4 bytes each; or None.
    """

    key: str
    last: float | None
    least: float | None = None
    greatest: float | None = None
    first: float | None = None
    last_step: float | None = None
    least_step: float | None = None
    greatest_step: float | None = None
    points: int = 0
    curve: bytes | None = None

    @classmethod
    def of(cls, key: str, known: Mapping[str, Any]) -> MetricRow:
        """Give a metric as a run's summary has it.

        Args:
            key: Its name.
            known: Its values, where NaN stands for none, and `picture`, a few of its points.
        """
        values = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name in _NUMBERS
            for value in (known.get(name),)
        }
        flat = [_single(number) for point in known.get("picture") or () for number in point]
        curve = struct.pack(f"<{len(flat)}f", *flat) if flat else None
        return cls(key, **values, points=int(known["points"]), curve=curve)

    @classmethod
    def of_last(cls, key: str, value: float) -> MetricRow:
        """Give a metric of which the last value alone is known.

        Args:
            key: Its name.
            value: The value.
        """
        known = None if math.isnan(value) else float(value)
        return cls(key, known, least=known, greatest=known)


@attrs.frozen
class RunDetails:
    """What belongs to a run, as far as the store knows it.

    Attributes:
        params, tags: By key.
        metrics: In their order.
        artifacts: Names of files.
        context: Where it comes from, as JSON has it, or None.
    """

    params: Mapping[str, Any]
    tags: Mapping[str, str]
    metrics: tuple[MetricRow, ...]
    artifacts: tuple[str, ...] = ()
    context: Mapping[str, Any] | None = None


def write_params(session: Session, run: int, params: Mapping[str, Any]) -> None:
    """Write a run's params.

    Args:
        session: In a transaction.
        run: The run's number.
        params: Values that JSON has, by key.
    """
    rows = []
    for place, (key, value) in enumerate(params.items()):
        text = encodable(as_text(value))
        is_whole = isinstance(value, str) and len(text) <= LONGEST and text == value
        rows.append(
            {
                "run": run,
                "key": encodable(key)[:LONGEST_KEY],
                "place": place,
                "value": text[:LONGEST],
                "number": number_in(value),
                "json": None if is_whole else json.dumps(value),
            }
        )
    _replace(session, "params", run, rows)


def write_tags(session: Session, run: int, tags: Mapping[str, str]) -> None:
    """Write a run's own tags; those that were set later by hand stay.

    Args:
        session: In a transaction.
        run: The run's number.
        tags: Texts by key.
    """
    query = "SELECT key FROM tags WHERE run = :run AND set_at IS NOT NULL"
    later = {row["key"] for row in session.execute(query, {"run": run})}
    session.execute("DELETE FROM tags WHERE run = :run AND set_at IS NULL", {"run": run})
    rows = [_tag(run, key, value, None, None) for key, value in tags.items()]
    _insert(session, "tags", [row for row in rows if row["key"] not in later])


def set_tags(
    session: Session, run: int, tags: Mapping[str, str], set_at: int, set_by: str | None
) -> None:
    """Set tags of a run by hand.

    Args:
        session: In a transaction.
        run: The run's number.
        tags: Texts by key.
        set_at: When, in nanoseconds since the epoch.
        set_by: Who does so, where that is known.
    """
    rows = [_tag(run, key, value, set_at, set_by) for key, value in tags.items()]
    for row in rows:
        session.execute("DELETE FROM tags WHERE run = :run AND key = :key", row)
    _insert(session, "tags", rows)


def _double(number: float | None) -> float | None:
    """Give a step as a column holds it: a whole number may have more than its 64 bits."""
    try:
        return None if number is None else float(number)
    except OverflowError:
        return math.inf if number and number > 0 else -math.inf


def write_metrics(
    session: Session, run: int, metrics: Mapping[str, float] | Iterable[MetricRow]
) -> None:
    """Write a run's metrics, and their curves where they are given.

    Args:
        session: In a transaction.
        run: The run's number.
        metrics: What is known of each, or the last value by key.
    """
    if isinstance(metrics, Mapping):
        metrics = [MetricRow.of_last(key, value) for key, value in metrics.items()]
    known = {encodable(metric.key)[:LONGEST_KEY]: metric for metric in metrics}
    rows = [
        {
            "run": run,
            "key": key,
            "place": place,
            "last": metric.last,
            "least": metric.least,
            "greatest": metric.greatest,
            "first": metric.first,
            "last_step": _double(metric.last_step),
            "least_step": _double(metric.least_step),
            "greatest_step": _double(metric.greatest_step),
            "points": metric.points,
        }
        for place, (key, metric) in enumerate(known.items())
    ]
    _replace(session, "metrics", run, rows)
    curves = [
        {"run": run, "key": key, "points": metric.curve}
        for key, metric in known.items()
        if metric.curve is not None
    ]
    if curves:
        _replace(session, "curves", run, curves)


def write_last_values(session: Session, values: Mapping[str, Mapping[str, float]]) -> None:
    """Write the last values of metrics of runs that live, beside what is known of the others.

    Args:
        session: In a transaction.
        values: The values by key, by the run's id.
    """
    rows = [
        {"id": run, "key": encodable(key)[:LONGEST_KEY], "last": metric.last, "place": place}
        for run, of_run in values.items()
        for place, (key, value) in enumerate(of_run.items())
        for metric in (MetricRow.of_last(key, value),)
    ]
    session.execute_many(_LAST_VALUE, rows)


_LAST_VALUE = """
INSERT INTO metrics (run, key, place, last, least, greatest, points)
SELECT no, :key, :place, :last, :last, :last, 0 FROM runs WHERE id = :id AND status = 'running'
ON CONFLICT (run, key) DO UPDATE SET last = excluded.last
"""


def write_trackers(session: Session, run: int, metadata: Mapping[str, Any]) -> None:
    """Write on which trackers a run is.

    Args:
        session: In a transaction.
        run: The run's number.
        metadata: As `journal.descriptions.metadata_of` gives it.
    """
    rows = [
        {
            "run": run,
            "name": key.removeprefix(_TRACKER),
            "flavor": str(flavor),
            "url": metadata.get(_URL + key.removeprefix(_TRACKER)),
        }
        for key, flavor in metadata.items()
        if key.startswith(_TRACKER)
    ]
    _replace(session, "trackers", run, rows)


def write_artifacts(session: Session, run: int, artifacts: Iterable[Mapping[str, Any]]) -> None:
    """Write which files a run has logged.

    Args:
        session: In a transaction.
        run: The run's number.
        artifacts: Of each `name`, `kind`, `media_type`, `size`, `sha256`, `step`, `logged_at`.
    """
    last = list(artifacts)[-MOST_ARTIFACTS:]
    rows = {encodable(row["name"])[:LONGEST_KEY]: {**row, "run": run} for row in last}
    found = [{**row, "name": name, "step": _double(row["step"])} for name, row in rows.items()]
    _replace(session, "artifacts", run, found)


def write_summary(session: Session, run: int, summary: Mapping[str, Any]) -> None:
    """Write what a run's journal comes to.

    Args:
        session: In a transaction.
        run: The run's number.
        summary: `params`, `tags`, `metrics`, `artifacts` and `context`, as JSON has them.
    """
    write_params(session, run, {k: _short(v) for k, v in summary["params"].items()})
    tags = {key: _short(value) for key, value in summary["tags"].items()}
    write_tags(session, run, {k: v for k, v in tags.items() if k not in (NOTE, NAME)})
    write_metrics(session, run, [MetricRow.of(k, m) for k, m in summary["metrics"].items()])
    write_artifacts(session, run, summary["artifacts"])
    context = summary.get("context")
    if context:
        git = context.get("git") or {}
        values = {
            "user_name": context.get("user"),
            "host": context.get("host"),
            "command": shlex.join(context.get("command") or ()) or None,
            "git_commit": git.get("commit"),
            "git_branch": git.get("branch"),
            "context": json.dumps(context),
            "run": run,
        }
        session.execute(_SET_CONTEXT, {k: _encodable(v) for k, v in values.items()})


def _short(value: Any) -> Any:
    """Cut what nobody looks for: the whole stands in the journal."""
    return value[:LONGEST_KEPT] if isinstance(value, str) else value


def _encodable(value: Any) -> Any:
    return encodable(value) if isinstance(value, str) else value


_SET_CONTEXT = (
    "UPDATE runs SET user_name = :user_name, host = :host, command = :command, "
    "git_commit = :git_commit, git_branch = :git_branch, context = :context WHERE no = :run"
)


def read_params(session: Session, runs: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Give the params of runs, in the order in which they were given.

    Args:
        session: Where to read.
        runs: The runs' numbers.
    """
    found: dict[int, dict[str, Any]] = {}
    for row in _rows_of(session, "run, key, value, json", "params", runs, "ORDER BY run, place"):
        value = row["value"] if row["json"] is None else json.loads(row["json"])
        found.setdefault(row["run"], {})[row["key"]] = value
    return found


def read_tags(session: Session, runs: Iterable[int]) -> dict[int, dict[str, str]]:
    """Give the tags of runs.

    Args:
        session: Where to read.
        runs: The runs' numbers.
    """
    found: dict[int, dict[str, str]] = {}
    for row in _rows_of(session, "run, key, value, whole", "tags", runs):
        value = row["value"] if row["whole"] is None else row["whole"]
        found.setdefault(row["run"], {})[row["key"]] = value
    return found


def read_metrics(session: Session, runs: Iterable[int]) -> dict[int, dict[str, MetricRow]]:
    """Give the metrics of runs, without their curves, in the order in which they were given.

    Args:
        session: Where to read.
        runs: The runs' numbers.
    """
    columns = ", ".join(name for name in _METRIC if name != "curve")
    found: dict[int, dict[str, MetricRow]] = {}
    for row in _rows_of(session, f"run, {columns}", "metrics", runs, "ORDER BY run, place"):
        values = {name: row[name] for name in _METRIC if name != "curve"}
        found.setdefault(row["run"], {})[row["key"]] = MetricRow(**values)
    return found


def read_curves(session: Session, runs: Iterable[int]) -> dict[int, dict[str, bytes]]:
    """Give the thinned curves of runs, packed.

    Args:
        session: Where to read.
        runs: The runs' numbers.
    """
    found: dict[int, dict[str, bytes]] = {}
    for row in _rows_of(session, "run, key, points", "curves", runs):
        found.setdefault(row["run"], {})[row["key"]] = bytes(row["points"])
    return found


def read_artifacts(session: Session, runs: Iterable[int]) -> dict[int, list[str]]:
    """Give the names of the files that runs have logged.

    Args:
        session: Where to read.
        runs: The runs' numbers.
    """
    found: dict[int, list[str]] = {}
    for row in _rows_of(session, "run, name", "artifacts", runs, "ORDER BY run, logged_at, name"):
        found.setdefault(row["run"], []).append(row["name"])
    return found


def read_context(session: Session, run: int) -> Mapping[str, Any] | None:
    """Give where a run comes from, as JSON has it, or None.

    Args:
        session: Where to read.
        run: The run's number.
    """
    (row,) = session.execute("SELECT context FROM runs WHERE no = :run", {"run": run})
    known: Mapping[str, Any] | None = json.loads(row["context"]) if row["context"] else None
    return known


def values_of(curve: bytes | None) -> list[float]:
    """Give the values of a packed curve.

    Args:
        curve: As `MetricRow.curve`.
    """
    if not curve:
        return []
    return [*struct.unpack(f"<{len(curve) // 4}f", curve)][1::2]


def last_values(metrics: Mapping[str, MetricRow]) -> dict[str, float]:
    """Give the last value of each metric.

    Args:
        metrics: What the store knows of each.
    """
    return {key: math.nan if m.last is None else m.last for key, m in metrics.items()}


def as_text(value: Any) -> str:
    """Give a param's value as texts are compared.

    Args:
        value: A value that JSON has.
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    return json.dumps(value)


def number_in(value: Any) -> float | None:
    """Give the number that a param is, or that its text is; None where it is none.

    Args:
        value: A value that JSON has.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (len(value) > 40 or "_" in value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def behind(prefix: str) -> str:
    """Give a text that stands behind all texts with a prefix, as databases compare them here.

    Args:
        prefix: The prefix.
    """
    return prefix + chr(0x10FFFF)


_METRIC = tuple(field.name for field in attrs.fields(MetricRow))
_COLUMNS = {
    "params": ("run", "key", "place", "value", "number", "json"),
    "tags": ("run", "key", "value", "whole", "set_at", "set_by"),
    "metrics": ("run", "place", *(name for name in _METRIC if name != "curve")),
    "curves": ("run", "key", "points"),
    "artifacts": (*("run", "name", "kind", "media_type", "size", "sha256", "step", "logged_at"),),
    "trackers": ("run", "name", "flavor", "url"),
}
_INSERT = {
    table: f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{n}' for n in names)})"
    for table, names in _COLUMNS.items()
}
_DELETE = {table: f"DELETE FROM {table} WHERE run = :run" for table in _COLUMNS}


def _tag(run: int, key: str, value: str, set_at: int | None, set_by: str | None) -> dict[str, Any]:
    text = encodable(value)
    return {
        "run": run,
        "key": encodable(key)[:LONGEST_KEY],
        "value": text[:LONGEST],
        "whole": text if len(text) > LONGEST else None,
        "set_at": set_at,
        "set_by": set_by,
    }


def _replace(session: Session, table: str, run: int, rows: list[dict[str, Any]]) -> None:
    session.execute(_DELETE[table], {"run": run})
    _insert(session, table, rows)


def _insert(session: Session, table: str, rows: list[dict[str, Any]]) -> None:
    session.execute_many(_INSERT[table], rows)


def _rows_of(
    session: Session, columns: str, table: str, runs: Iterable[int], order: str = ""
) -> Iterable[Mapping[str, Any]]:
    """Give the rows of several runs; the numbers are our own and stand in the text."""
    numbers = ", ".join(str(int(run)) for run in runs)
    if not numbers:
        return []
    query = f"SELECT {columns} FROM {table} WHERE run IN ({numbers}) {order}"
    return session.execute(query)
