"""Which of Comet's messages does a record become, and which record is a message?

Comet's SDK writes an offline experiment as lines of JSON, one message each; native calls arrive
here in this form, too. The formats are those of comet-ml 3.58.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from trackyard.contract import Artifact, Batch, Dataset, Metric, Model, Param, Record, Run, Tag
from trackyard_comet.histograms import own_histogram, shown_histogram
from trackyard_comet.machine import from_comet, to_comet

Message = dict[str, Any]
Identity = tuple[Any, ...]
ArtifactKind = Literal["file", "image", "histogram", "audio", "video", "model", "dataset"]
KINDS: tuple[ArtifactKind, ...] = get_args(ArtifactKind)
# What Comet calls them; everything else is an asset, or an image.
_UPLOADS: dict[str, str] = {
    "histogram": "histogram3d", "audio": "audio", "video": "video", "model": "model-element",
}  # fmt: skip
_KINDS_OF_UPLOADS: dict[str, ArtifactKind] = {
    "visualization": "image", "histogram3d": "histogram", "audio": "audio", "video": "video",
    "model-element": "model",
}  # fmt: skip

# What the SDK logs of its own accord; a step that uses Trackyard's calls alone has none of it.
_OWN_METRICS = {"process duration"}
_OWN_OTHERS = {
    "offline_experiment", "hasNestedParams", "Created from", "sys.already_imported_modules",
}  # fmt: skip
# The SDK's training step and epoch, which stand among the parameters.
CLOCKS = ("curr_step", "curr_epoch")
HTML = {"html", "htmlOverride"}
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def messages_of(run: Run, batch: Batch) -> Iterator[Message]:
    """Give the messages of a batch; those of files name the file's place as `source`.

    Args:
        run: The run.
        batch: Its records.
    """
    for metric in batch.metrics:
        yield _metric_message(to_comet(metric))
    for param in batch.params:
        yield _message("parameter_msg", param=_param(param))
    for tag in batch.tags:
        yield other_message(tag.key, tag.value)
    for artifact in batch.artifacts:
        yield from _messages_of_file(run, artifact)


def other_message(key: str, value: str) -> Message:
    """Give the message of a key and a value, which Comet shows under "Other".

    Args:
        key: The key.
        value: The value.
    """
    return {"type": "log_other", "payload": {"key": key, "value": value}}


def read_messages(path: Path, first: int = 0) -> list[Message]:
    """Read a file of messages from a line on; a last line that is torn is left for later.

    A line that is no message is kept in its place as an empty one, so that lines can be counted.

    Args:
        path: The file.
        first: How many lines are passed over.
    """
    return [_parsed(line) for line in _lines(path)[first:]]


def count_messages(path: Path) -> int:
    """Count the lines of a file of messages, but for a last one that is torn."""
    return len(_lines(path))


def _lines(path: Path) -> list[bytes]:
    try:
        text = path.read_bytes()
    except OSError:
        return []
    return text[: text.rfind(b"\n") + 1].splitlines()


def _parsed(line: bytes) -> Message:
    try:
        message = json.loads(line)
        return message if isinstance(message["payload"], dict) and message["type"] else {}
    except (ValueError, TypeError, KeyError):
        return {}


def without_own(messages: Iterable[Message]) -> list[Message]:
    """Leave out what the SDK logs of its own accord."""
    return [message for message in messages if message and not _is_own(message)]


def _is_own(message: Message) -> bool:
    payload = message["payload"]
    match message["type"]:
        case "metric_msg":
            return payload["metric"]["metricName"] in _OWN_METRICS
        case "parameter_msg":
            param = payload.get("param") or payload.get("params") or {}
            return param.get("source") == "auto-logged" and param["paramName"] in CLOCKS
        case "log_other":
            return payload["key"] in _OWN_OTHERS
        case _:
            return False


def records_of(messages: Iterable[Message]) -> Iterator[Record]:
    """Give the records that messages hold; those of files need `source`, their place."""
    for message in messages:
        payload = message.get("payload", {})
        match message.get("type"):
            case "metric_msg":
                metric = payload["metric"]
                value, time = number(metric["metricValue"]), payload["local_timestamp"]
                name, context = metric["metricName"], payload.get("context")
                key = f"{context}_{name}" if context else name  # as Comet's page shows it
                found = Metric(key, value, metric["step"], time * 1_000_000)
                yield from_comet(found)
            case "parameter_msg":
                param = payload.get("param") or payload["params"]
                value = param["paramValue"]
                yield Param(param["paramName"], json.dumps(value) if _nested(value) else value)
            case "log_other":
                yield Tag(payload["key"], str(payload["value"]))
            case "file_upload" if "source" in message:
                yield _artifact(message)


def metric_identity(metric: dict[str, Any], timestamp: int) -> Identity:
    """Give what a server tells points by; it may lose a step of None.

    Args:
        metric: A point as Comet's messages and its server write it.
        timestamp: Its time in milliseconds since the epoch, as Comet keeps it.
    """
    value = repr(number(metric["metricValue"]))
    return metric["metricName"], float(metric.get("step") or 0), int(timestamp), value


def identities_of(messages: Iterable[Message]) -> Iterator[tuple[Identity, Identity]]:
    """Give what tells the points among messages from all others, and what a server tells them by.

    A server has milliseconds, so that points of one value and step may be the same to it.
    """
    for message in messages:
        if message["type"] == "metric_msg":
            payload = message["payload"]
            shown = metric_identity(payload["metric"], payload["local_timestamp"])
            yield (*shown, message.get("time") or payload.get("message_id")), shown


def number(value: Any) -> float:
    """Give a metric's value, which Comet writes as text where JSON has no number for it."""
    try:
        return float(_SPECIAL.get(value, value))
    except (TypeError, ValueError):
        return math.nan


def is_number(value: Any) -> bool:
    """Tell whether a metric's value, as Comet writes it, is a number."""
    return value in _SPECIAL or (isinstance(value, int | float) and not isinstance(value, bool))


def is_of_command(message: Message) -> bool:
    """Tell whether a message is a parameter that the SDK has found in the command's arguments."""
    param = message["payload"].get("param") or message["payload"].get("params") or {}
    return message["type"] == "parameter_msg" and param.get("source") == "cli"


def html_of(messages: Iterable[Message]) -> str:
    """Give the HTML that messages leave in the end: they add to it, or write it anew."""
    html = ""
    for message in messages:
        if message["type"] == "htmlOverride":
            html = message["payload"]["htmlOverride"]
        elif message["type"] == "html":
            html += message["payload"]["html"]
    return html


def _message(kind: str, **payload: Any) -> Message:
    return {"type": kind, "payload": {"local_timestamp": 0, **payload}}


def _metric_message(metric: Metric) -> Message:
    named = {"metricName": metric.key, "metricValue": _plain(metric.value)}
    named |= {"step": metric.step, "epoch": None}
    message = _message("metric_msg", local_timestamp=metric.timestamp // 1_000_000, metric=named)
    return {**message, "time": metric.timestamp}  # tells points of one millisecond apart


def _param(param: Param) -> dict[str, Any]:
    value = _plain(param.value) if param.value is not None else "None"
    return {"paramName": param.key, "paramValue": value, "step": None, "source": "manual"}


def _plain(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _messages_of_file(run: Run, artifact: Artifact) -> Iterator[Message]:
    if artifact.kind == "model":
        yield from _messages_of_model(run, artifact)
        return
    yield _file_message(run, artifact)
    if artifact.kind == "dataset":
        yield from _messages_of_dataset(Dataset.read(artifact.path), artifact.timestamp)


def _messages_of_model(run: Run, artifact: Artifact) -> Iterator[Message]:
    """Give a model's files once the artifact comes that describes it."""
    model = Model.read(artifact)
    if model is None:
        return
    for file in model.files:
        if file.path is not None:
            one = attrs.evolve(artifact, name=f"{model.name}/{file.name}", path=file.path)
            yield _file_message(run, one, model.name)
    yield _file_message(run, artifact, model.name)


def _messages_of_dataset(dataset: Dataset, timestamp: int) -> Iterator[Message]:
    """Say of a dataset what `log_dataset_info` and `log_dataset_hash` of Comet's SDK do."""
    name = "-".join(part for part in (dataset.name, dataset.version) if part)
    yield other_message("dataset_info", ", ".join(filter(None, (name, dataset.source))))
    if dataset.digest:
        digest = Param("dataset_hash", dataset.digest)
        yield _message(
            "parameter_msg", local_timestamp=timestamp // 1_000_000, param=_param(digest)
        )


def _file_message(run: Run, artifact: Artifact, group: str | None = None) -> Message:
    """The id that is made here, as the SDK does it, is the same each time the file is sent."""
    what = f"{run.id}/{artifact.name}/{artifact.step}/{artifact.timestamp}"
    id_ = hashlib.sha256(what.encode("utf-8", "backslashreplace")).hexdigest()[:32]
    options: dict[str, Any] = {"context": None, "overwrite": False, "step": artifact.step}
    options["extension"] = artifact.path.suffix.removeprefix(".")
    if artifact.kind == "image":
        kind, own = "visualization", {"imageId": id_, "figName": artifact.name, "figCounter": 0}
    else:
        kind = _UPLOADS.get(artifact.kind, "asset")
        own = {"assetId": id_, "fileName": artifact.name}
        own |= {} if kind == "asset" else {"type": kind}
        own |= {} if group is None else {"groupingName": group}
    message = _message(
        "file_upload",
        local_timestamp=artifact.timestamp // 1_000_000,
        additional_params={**options, **own},
        file_path=id_,
        upload_type=kind,
        metadata={},
    )
    if artifact.kind == "histogram":
        return {
            **message,
            "source": str(shown_histogram(artifact, run.folder / "histograms" / id_)),
        }
    return {**message, "source": str(artifact.path)}


def _artifact(message: Message) -> Artifact:
    payload = message["payload"]
    options = payload.get("additional_params") or {}
    name = options.get("fileName") or options.get("figName") or payload["file_path"]
    kind = kind_of(payload["upload_type"])
    time = payload.get("local_timestamp", 0) * 1_000_000
    path = Path(message["source"])
    path = own_histogram(path) if kind == "histogram" else path
    return Artifact(name, path, kind, None, options.get("step"), time)


def kind_of(upload: str | None) -> ArtifactKind:
    """Give the kind of what Comet has as an upload of some type."""
    return _KINDS_OF_UPLOADS.get(upload or "", "file")


def _nested(value: Any) -> bool:
    return isinstance(value, list | dict)
