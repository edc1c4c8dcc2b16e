"""Which of Neptune's operations does a record become, and which record is an operation?

Operations are lines of JSON in Neptune's folder of an offline run, in the form of neptune 1.14:
`type`, `path` and what belongs to the type. A point in a series has what Neptune's SDK passes over
under `exact`, too: the step and the nanoseconds with which it was logged.

Neptune keeps a series in the order of its steps, and refuses a point whose step does not increase.
Such a point gets the next possible step, and its own one stands in the series `trackyard/steps/…`.
"""

from __future__ import annotations

import math
import mimetypes
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any, Literal, get_args

from trackyard.contract import Artifact, Batch, Context, Git, Metric, Param, Record, Run, Tag
from trackyard_neptune.native_files import native_files

Operation = dict[str, Any]

# Namespaces with a meaning: a metric whose key begins with one is in `metrics/` instead.
# What Neptune's page shows of a run that somebody has noted or renamed after its start.
_SHOWN = {"trackyard.note": "description", "trackyard.name": "name"}
_PARAMS, _TAGS, _FILES, _OURS, _METRICS = "params", "tags", "files", "trackyard", "metrics"
_RESERVED = {_PARAMS, _TAGS, _FILES, _OURS, _METRICS, "sys", "monitoring", "source_code"}
# What the SDK writes of its own accord.
_OF_NEPTUNE = ("sys", "source_code", "monitoring")
_STEPS = [_OURS, "steps"]
_NOT_FINISHED = ("failed", "killed", "crashed")
# Most digits behind the point that Neptune keeps of a step.
_LEAST = 1e-6
_Kind = Literal["file", "image", "html", "text", "audio", "video"]
KINDS: tuple[_Kind, ...] = get_args(_Kind)  # Neptune tells them by their suffixes


class Steps:
    """The steps that points get in Neptune, increasing in each series."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], float] = {}

    def next(self, path: Iterable[str], step: float | None) -> float:
        """Give the step for a point of a series, and take it.

        Args:
            path: The series, as the parts of its name.
            step: The step that was logged, or None.
        """
        series = tuple(path)
        last = self._last.get(series)
        if step is None:
            given = 0.0 if last is None else math.floor(last) + 1.0
        elif last is None or step > last:
            given = float(step)
        else:
            given = max(last + _LEAST, math.nextafter(last, math.inf))
        self._last[series] = given
        return given

    def note(self, operation: Operation) -> None:
        """Take the steps of an operation that is written already."""
        if operation["type"] == "LogFloats":
            for value in operation["values"]:
                if value.get("step") is not None:
                    self._last[tuple(operation["path"])] = value["step"]


def first_operations(run: Run, tags: list[str]) -> Iterator[Operation]:
    """Give what is said of a run at its start, with Neptune's own tags, which are words.

    Args:
        run: The run.
        tags: Words, as the configuration has them.
    """
    yield _assign(["sys", "name"], run.name)
    yield _assign(["sys", "failed"], False)
    if tags:
        yield {"type": "AddStrings", "path": ["sys", "tags"], "values": list(dict.fromkeys(tags))}
    if run.is_child and run.group:
        yield {"type": "AddStrings", "path": ["sys", "group_tags"], "values": [run.group]}
    for key, value in {**run.tags, **run.identity_tags}.items():
        yield _assign(_tag_path(key), value)


def context_operations(context: Context | None) -> Iterator[Operation]:
    """Give where a run comes from, under the names of Neptune's SDK where it has some.

    Args:
        context: What is known of it.
    """
    if context is None:
        return
    git = context.git or Git()
    named = {
        # As the SDK has it, whose own value this one may take the place of.
        "source_code/entrypoint": PurePath(context.script or "").name,
        "source_code/git/commit": git.commit,
        "source_code/git/branch": git.branch,
        "source_code/git/remote": git.remote,
        "monitoring/trackyard/hostname": context.host,
        "source_code/requirements": context.requirements,
    }
    for name, text in named.items():
        if text:
            yield _assign(name.split("/"), text)
    for key, text in context.tags.items():
        yield _assign(_tag_path(key), text)


def reopening_operations() -> Iterator[Operation]:
    """Give what is said of a run that has ended and is running again."""
    yield _assign(["sys", "failed"], False)
    yield _assign(_tag_path("trackyard.status"), "running")
    yield _assign(_tag_path("trackyard.failure"), "")
    yield {"type": "RemoveStrings", "path": ["sys", "tags"], "values": [*_NOT_FINISHED]}


def last_operations(status: str, failure: str) -> Iterator[Operation]:
    """Give how a run ended: Neptune itself knows whether it failed.

    Args:
        status: How it ended.
        failure: What went wrong, or an empty text.
    """
    yield _assign(_tag_path("trackyard.status"), status)
    if status != "finished":
        yield _assign(["sys", "failed"], True)
        yield _assign(_tag_path("trackyard.failure"), failure)
        yield {"type": "AddStrings", "path": ["sys", "tags"], "values": [status]}


def batch_operations(batch: Batch) -> Iterator[Operation]:
    """Give the operations of a batch; steps are still as they were logged."""
    series: dict[str, list[dict[str, Any]]] = {}
    for metric in batch.metrics:
        exact = [metric.step, metric.timestamp]
        point = {"value": metric.value, "step": metric.step, "ts": metric.timestamp / 1e9}
        series.setdefault(metric.key, []).append({**point, "exact": exact})
    for key, values in series.items():
        yield {"type": "LogFloats", "path": _metric_path(key), "values": values}
    for param in batch.params:
        yield _assign([_PARAMS, *param.key.split("/")], param.value)
    for tag in batch.tags:
        yield _assign(_tag_path(tag.key), tag.value)
        if tag.key in _SHOWN:
            yield _assign(["sys", _SHOWN[tag.key]], tag.value)
    yield from context_operations(batch.context)
    for artifact in batch.artifacts:
        path = [_FILES, *artifact.name.split("/")]
        yield {
            "type": "UploadFile",
            "path": path,
            "ext": artifact.path.suffix.removeprefix("."),
            "file_path": str(artifact.path),
            "tmp_file_name": None,
            "clean_after_upload": False,
            "exact": [artifact.step, artifact.timestamp, artifact.kind, artifact.media_type],
        }


def records_among(batch: Batch, operations: Iterable[Operation]) -> list[Record]:
    """Give the records of a batch that these operations were made of.

    Args:
        batch: The batch.
        operations: Some of the operations, as they were written.
    """
    wanted = set(map(_matter, operations))
    records: list[Record] = [*batch.metrics, *batch.params, *batch.tags, *batch.artifacts]
    return [
        record
        for record in records
        if any(_matter(made) in wanted for made in batch_operations(Batch.of((record,), 1, 1)))
    ]


def refused_records(refused: Iterable[tuple[Operation, str]]) -> list[Record]:
    """Give operations as records, to be counted: what is no record is a param of its field's name.

    Args:
        refused: Operations, and what the server says of them.
    """
    found: list[Record] = []
    for operation, _ in refused:
        name, value = "/".join(operation["path"]), str(operation.get("value", ""))
        found += list(records_of([operation])) or [Param(name, value)]
    return found


def _matter(operation: Operation) -> tuple[str, ...]:
    """Give what tells an operation of a batch from its others."""
    return operation["type"], repr(operation.get("value")), *operation["path"]


def in_order(operation: Operation, steps: Steps) -> list[Operation]:
    """Give points steps that Neptune takes, and tell their own ones beside them.

    Args:
        operation: An operation of Neptune's.
        steps: The last step of each series, which is moved on.
    """
    if operation["type"] != "LogFloats":
        return [operation]
    path, values, moved = operation["path"], [], []
    for value in operation["values"]:
        step = steps.next(path, value.get("step"))
        values.append({**value, "step": step})
        if value.get("step") is not None and value["step"] != step:
            moved.append({"value": float(value["step"]), "step": step, "ts": value["ts"]})
    shown = [{**operation, "values": values}]
    if moved:
        shown.append({"type": "LogFloats", "path": [*_STEPS, *path], "values": moved})
    return shown


def identities(operation: Operation) -> set[tuple[Any, ...]]:
    """Give what tells the points of a series from all others."""
    if operation["type"] != "LogFloats" or operation["path"][:2] == _STEPS:
        return set()
    path = tuple(operation["path"])
    return {
        (path, *value["exact"], value["value"]) for value in operation["values"] if "exact" in value
    }


def without(operation: Operation, known: set[tuple[Any, ...]]) -> Operation | None:
    """Leave out the points that are known; None where nothing is left.

    Args:
        operation: An operation of Neptune's.
        known: Points: the path, the exact step and time, and the value.
    """
    if operation["type"] != "LogFloats" or not known:
        return operation
    path = tuple(operation["path"])
    values = [v for v in operation["values"] if (path, *v["exact"], v["value"]) not in known]
    return {**operation, "values": values} if values else None


def records_of(operations: Iterable[Operation], scratch: Path | None = None) -> Iterator[Record]:
    """Read operations, also those of native calls; of a value that was assigned the last counts.

    Args:
        operations: The operations.
        scratch: Where files of what only native calls log are written; without one it is left out.
    """
    atoms: dict[tuple[str, ...], Operation] = {}
    moved: dict[tuple[tuple[str, ...], float], float] = {}
    known = list(operations)
    for operation in known:
        if operation["type"] == "LogFloats" and operation["path"][:2] == _STEPS:
            path = tuple(operation["path"][2:])
            moved.update({(path, v["step"]): v["value"] for v in operation["values"]})
    for operation in known:
        if operation["type"] == "LogFloats" and operation["path"][:2] != _STEPS:
            yield from _points(operation, moved)
        elif operation["type"].startswith("Assign") or operation["type"] == "UploadFile":
            atoms[tuple(operation["path"])] = operation
        elif scratch is not None and operation["path"][0] not in _OF_NEPTUNE:
            yield from native_files(operation, scratch)
    for operation in atoms.values():
        yield from _atom(operation)


def _points(
    operation: Operation, moved: dict[tuple[tuple[str, ...], float], float]
) -> Iterator[Metric]:
    path = operation["path"]
    key = "/".join(path[1:] if path[0] == _METRICS else path)
    for value in operation["values"]:
        step = moved.get((tuple(path), value["step"]), value["step"])
        exact = value.get("exact", [step, round(value["ts"] * 1e6) * 1000])
        yield Metric(key, value["value"], exact[0], exact[1])


def _atom(operation: Operation) -> Iterator[Record]:
    (first, *rest), name = operation["path"], "/".join(operation["path"][1:])
    if operation["type"] == "UploadFile":
        source = operation.get("file_path") or operation.get("tmp_file_name")
        if source and Path(source).is_file():
            shown = name if first == _FILES else _suffixed(operation)
            step, time, kind, media_type = operation.get("exact", [None, 0, *_kind_of(source)])
            known: _Kind = kind if kind in KINDS else "file"
            yield Artifact(shown, Path(source), known, media_type, step, time)
    elif first == _OURS:
        yield Tag(f"trackyard.{name}", str(operation["value"]))
    elif first == _TAGS:
        yield Tag(name, str(operation["value"]))
    elif first == _PARAMS:
        yield Param(name, operation["value"])
    elif first not in _OF_NEPTUNE:
        yield Param("/".join([first, *rest]), operation["value"])


def _suffixed(operation: Operation) -> str:
    """Give the name of a file of a native call: fields of Neptune's have their suffix apart."""
    name, ext = "/".join(operation["path"]), operation.get("ext")
    return name if not ext or name.endswith(f".{ext}") else f"{name}.{ext}"


def _kind_of(path: str) -> tuple[str, str | None]:
    """Give kind and media type of a file that Neptune's own calls have uploaded."""
    media_type = mimetypes.guess_type(path)[0]
    if media_type == "text/html":
        return "html", media_type
    return (media_type or "").partition("/")[0], media_type


def _metric_path(key: str) -> list[str]:
    path = key.split("/")
    return [_METRICS, *path] if path[0] in _RESERVED else path


def _tag_path(key: str) -> list[str]:
    if re.fullmatch(r"trackyard\.\w+", key):
        return [_OURS, key.partition(".")[2]]
    return [_TAGS, *key.split("/")]


def _assign(path: list[str], value: Any) -> Operation:
    """Assign by type; what Neptune's numbers cannot hold is a text."""
    kind = "String"
    if isinstance(value, bool):
        kind = "Bool"
    elif isinstance(value, int) and -(2**31) <= value < 2**31:
        kind = "Int"
    elif isinstance(value, float) and math.isfinite(value):
        kind = "Float"
    else:
        value = str(value)
    return {"type": f"Assign{kind}", "path": path, "value": value}
