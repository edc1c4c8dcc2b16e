"""How does a model or a dataset become one of W&B's artifacts, and how is it read back?

W&B's own `wandb sync` uploads what a record of an artifact names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trackyard.contract import MODEL_FILE, Artifact, Dataset, Model, Record
from trackyard_wandb.media import place_file

# Types of artifacts that W&B makes of other calls, or that are about W&B itself.
OF_WANDB = {"run_table", "code", "job", "wandb-history"}
_POLICY = {"storageLayout": "V2"}


def artifact_record(artifact: Artifact, run_id: str, folder: Path) -> Any:
    """Give the record of W&B's artifact that a model or a dataset becomes.

    Args:
        artifact: One that describes a model, or a dataset, which the run then uses.
        run_id: The run's id.
        folder: Where files are kept until they are uploaded.

    Returns:
        None for the other files of a model, which come with the one that describes it.
    """
    model = Model.read(artifact) if artifact.kind == "model" else None
    if model is None and artifact.kind == "model":
        return None
    if model is not None:
        files = {file.name: file.path for file in model.files if file.path is not None}
        return _record(
            *(artifact, run_id, {**files, MODEL_FILE: artifact.path}, folder),
            name=model.name,
            own={"folder": model.name},
            said={"framework": model.framework, **model.metrics, "signature": model.signature},
        )
    dataset = Dataset.read(artifact.path)
    said = {"version": dataset.version, "digest": dataset.digest, "source": dataset.source}
    said |= {"schema": dataset.schema, "profile": dataset.profile, "context": dataset.context}
    return _record(
        *(artifact, run_id, {"dataset.json": artifact.path}, folder),
        name=dataset.name,
        own={"name": artifact.name},
        said=said,
    )


def _record(
    artifact: Artifact,
    run_id: str,
    files: Mapping[str, Path],
    folder: Path,
    *,
    name: str,
    own: Mapping[str, str],
    said: Mapping[str, Any],
) -> Any:
    from wandb.proto import wandb_internal_pb2

    record = wandb_internal_pb2.Record()
    made = record.artifact
    made.type, made.name = artifact.kind, re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[:128]
    # Random in the SDK; here they are the same each time that the artifact is sent.
    made.client_id = _id_of(run_id, artifact.name, str(artifact.timestamp))
    made.sequence_client_id = _id_of(run_id, artifact.name)
    known = {key: value for key, value in said.items() if value is not None}
    made.metadata = json.dumps({**known, "trackyard": dict(own)})
    made.user_created = made.finalize = True
    made.use_after_commit = artifact.kind == "dataset"
    made.aliases.append("latest")
    manifest = made.manifest
    manifest.version, manifest.storage_policy = 1, "wandb-storage-policy-v1"
    for key, value in _POLICY.items():
        item = manifest.storage_policy_config.add()
        item.key, item.value_json = key, json.dumps(value)
    digest = hashlib.md5(b"wandb-artifact-manifest-v1\n", usedforsecurity=False)
    place = folder / made.client_id[:20]
    for path, source in sorted(files.items()):
        place_file(source, place / path)
        entry = manifest.contents.add()
        entry.path, entry.local_path = path, str(place / path)
        entry.digest, entry.size = _md5_of(source), source.stat().st_size
        digest.update(f"{path}:{entry.digest}\n".encode())
    made.digest = digest.hexdigest()
    return record


def read_artifact(record: Any) -> Iterator[Artifact]:
    """Give the files of an artifact that Trackyard made."""
    try:
        own = json.loads(record.metadata)["trackyard"]
    except (ValueError, KeyError, TypeError):  # of W&B's own calls
        return
    for entry in record.manifest.contents:
        name = f"{own['folder']}/{entry.path}" if "folder" in own else own["name"]
        if Path(entry.local_path).is_file():
            yield Artifact(name, Path(entry.local_path), record.type)


def native_artifact(record: Any, folder: Path) -> list[Record]:
    """Give the files of an artifact that W&B's own calls have logged.

    Args:
        record: W&B's record of it.
        folder: Where the files are written that describe models and datasets.
    """
    found = {entry.path: Path(entry.local_path) for entry in record.manifest.contents}
    files = {name: path for name, path in found.items() if path.is_file()}
    folder = folder / record.client_id[:20]
    return artifacts_of(record.type, record.name, record.digest, files, folder)


def artifacts_of(
    type_: str,
    name: str,
    digest: str,
    files: Mapping[str, Path],
    folder: Path,
    *,
    metadata: Mapping[str, Any] = MappingProxyType({}),
) -> list[Record]:
    """Give what an artifact of W&B's is here.

    Args:
        type_: Its type.
        name: Its name.
        digest: Its digest, as W&B says.
        files: Its files by their names in it.
        folder: Where the file is written that describes a model or a dataset.
        metadata: Its metadata, which say what Trackyard made it of.
    """
    if type_ in OF_WANDB:
        return []
    own = metadata.get("trackyard")
    kind: Any = "model" if type_ == "model" else "file"
    if isinstance(own, dict) and "folder" in own:
        return [Artifact(f"{own['folder']}/{at}", path, kind) for at, path in files.items()]
    if isinstance(own, dict) and "name" in own:
        return [Artifact(own["name"], path, "dataset") for path in files.values()]
    records: list[Record] = [Artifact(f"{name}/{at}", path, kind) for at, path in files.items()]
    if type_ not in ("model", "dataset"):
        return records
    folder.mkdir(parents=True, exist_ok=True)
    if type_ == "model":
        path, place = folder / MODEL_FILE, f"{name}/{MODEL_FILE}"
        path.write_text(json.dumps({"files": [_described(*file) for file in files.items()]}))
        return [*records, Artifact(place, path, "model", "application/json")]
    path, place = folder / "dataset.json", f"{Dataset.folder}/{name}.json"
    path.write_text(Dataset(name=name, digest=digest).to_json(), encoding="utf-8")
    return [*records, Artifact(place, path, "dataset", "application/json")]


def _described(name: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"name": name, "sha256": digest, "size": file.tell()}


def _id_of(*parts: str) -> str:
    return hashlib.sha512("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return base64.b64encode(digest.digest()).decode()
