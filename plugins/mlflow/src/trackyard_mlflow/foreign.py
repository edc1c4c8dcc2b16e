"""What do the values by which any of MLflow's stores knows a run say to Trackyard?"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit
from urllib.request import url2pathname
from zlib import crc32

from trackyard.contract import (
    Artifact,
    Context,
    Dataset,
    Failure,
    Git,
    ImportNote,
    RemoteRun,
    inside,
)

Status = Literal["running", "finished", "failed", "killed", "crashed"]
_STATUSES: dict[str, Status] = {
    "RUNNING": "running",
    "SCHEDULED": "running",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
}
# Of file stores: the number of a status.
STATUS_NAMES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
# The metadata of a trace that names its run.
SOURCE_RUN = "mlflow.sourceRun"
PARENT, RUN_NAME, USER = "mlflow.parentRunId", "mlflow.runName", "mlflow.user"
_MILLISECOND = 1_000_000
Piece = Artifact | ImportNote


def remote_run(
    run_id: str, values: Mapping[str, Any], tags: Mapping[str, str], version: str, size: int = 0
) -> RemoteRun:
    """Make the run that a store's values and tags say.

    Args:
        run_id: MLflow's own id.
        values: `name`, `experiment`, `status` (a word), `start_time`, `end_time` (milliseconds),
            `user_id`, as far as they are known.
        tags: Those that say more of it.
        version: Changes when the run does.
        size: About how many bytes are read for it.
    """
    status = _STATUSES.get(str(values.get("status") or "").upper())
    own = tags.get("trackyard.status")
    if own in get_args(Status) and status in ("failed", "killed", "finished"):
        status = own  # type: ignore[assignment]
    return RemoteRun(
        remote_id=run_id,
        name=values.get("name") or tags.get(RUN_NAME) or None,
        experiment=values.get("experiment"),
        status=status,
        started_at=_nanoseconds(values.get("start_time")),
        ended_at=_nanoseconds(values.get("end_time")),
        parent_id=tags.get(PARENT),
        user=values.get("user_id") or tags.get(USER),
        failure=_failure(status, tags.get("trackyard.failure")),
        version=version,
        size=size,
    )


def _nanoseconds(milliseconds: Any) -> int | None:
    try:
        return int(milliseconds) * _MILLISECOND if milliseconds else None
    except (ValueError, TypeError, OverflowError):
        return None


def _failure(status: Status | None, text: str | None) -> Failure | None:
    if status not in ("failed", "killed", "crashed") or not text:
        return None
    kind, _, message = text.partition(": ")
    return Failure(status, kind, message)


def context_of(tags: Mapping[str, str]) -> Context:
    """Give what a run's tags say of where it comes from."""
    git = Git(
        commit=tags.get("mlflow.source.git.commit"),
        branch=tags.get("mlflow.source.git.branch"),
        remote=tags.get("mlflow.source.git.repoURL"),
    )
    script = tags.get("mlflow.source.name")
    return Context(user=tags.get(USER), script=script, git=None if git == Git() else git)


def whole_value(value: float) -> float:
    """Give infinity for the largest number, as which MLflow's databases keep it."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


CAPPED = ImportNote("infinite values, which MLflow's database holds as 1.797e308", "changed")


def left_of(versions: Iterable[tuple[Any, Any]], traces: int) -> Iterator[ImportNote]:
    """Say what a run has elsewhere in MLflow that is not imported.

    Args:
        versions: Of each version that was registered of its models the model's name and the number.
        traces: How many traces it has.
    """
    for name, version in versions:
        yield ImportNote(f"registered model {name}, version {version}: the registry stays")
    if traces:
        yield ImportNote("traces", count=traces)


def dataset_of(values: Mapping[str, Any], context: str | None, folder: Path) -> Artifact:
    """Make the artifact of a dataset that was a run's input.

    Args:
        values: `name`, `digest`, `source`, `schema`, `profile`, as MLflow has them.
        context: What it was used for.
        folder: Where its file is written.
    """
    name, source = str(values.get("name") or "dataset"), values.get("source")
    match _json(source):  # of code, or of a service, it is not an address
        case {"uri": str(address)} | {"url": str(address)}:
            source = address
    dataset = Dataset(
        name=name,
        digest=values.get("digest"),
        source=source,
        schema=_json(values.get("schema")),
        profile=_json(values.get("profile")),
        context=context,
    )
    last = name.rpartition("/")[2] or "dataset"
    path = folder / f"dataset-{crc32(repr(sorted(values.items())).encode()):08x}.json"
    path.write_text(dataset.to_json(), encoding="utf-8")
    return Artifact(f"datasets/{last}.json", path, "dataset", "application/json")


def _json(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def local_folder(uri: str | None) -> Path | None:
    """Give the folder that a URI names; None where it is on no disk."""
    if not uri:
        return None
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(uri) if not parts.scheme else None


def files_below(root: Path, prefix: str = "", kind: Any = "file") -> Iterator[Piece]:
    """Give the files below a folder; no link is followed out of it.

    Args:
        root: The folder.
        prefix: Goes before their names.
        kind: Their kind.
    """
    for path in _walk(root):
        name = prefix + path.relative_to(root).as_posix()
        real = inside(root, path)
        if real is None:
            yield ImportNote(f"artifact {name}: it is a link, which is not followed")
        else:
            yield Artifact(name, real, kind, timestamp=real.stat().st_mtime_ns)


def _walk(folder: Path) -> Iterator[Path]:
    if folder.is_symlink():
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def version_of(parts: Iterable[object]) -> str:
    """Make a version of everything by which a run may differ."""
    return f"{crc32(repr(list(parts)).encode()):08x}"
