"""How does a W&B server answer what W&B's own client asks when it reads runs?

Each query has the name that the client gives it, and what it asks for has to be there.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"(?:query|mutation)\s+(\w+)")
_LAST_PAGE = {"endCursor": None, "hasNextPage": False}
_SPECIAL = {float("inf"): "Infinity", float("-inf"): "-Infinity"}


def name_of(query: str) -> str:
    """Give the name of a query."""
    found = _NAME.search(query)
    return found[1] if found else ""


def read_answer(server: Any, query: str, variables: Mapping[str, Any]) -> dict[str, Any] | None:
    """Answer a query of W&B's client; None for one that it does not ask to read runs.

    Args:
        server: The server, with its `runs`, `sweeps` and `artifacts`.
        query: The query.
        variables: Its variables.
    """
    name = name_of(query)
    if name == "GetProjects":
        names = sorted({run.project for run in server.runs.values()})
        edges = [{"node": _project(variables["entity"], name), "cursor": name} for name in names]
        return {"models": {"edges": edges, "pageInfo": _LAST_PAGE}}
    if name == "FetchArtifactManifest":
        url = f"{server.url}/storage/manifests/{variables['id']}"
        return {"artifact": {"currentManifest": {"file": {"directUrl": url}}}}
    if name not in _ANSWERS:
        return None
    place = variables["project"], variables["entity"]
    runs = {id_: run for id_, run in server.runs.items() if (run.project, run.entity) == place}
    if not runs:
        return {"project": None}
    return {"project": {"internalId": "7", **_ANSWERS[name](server, runs, query, variables)}}


def _runs(server: Any, runs: Any, query: str, variables: Any) -> dict[str, Any]:
    filters = json.loads(variables["filters"])
    ids = [id_ for id_ in runs if filters.get("name", id_) == id_]
    if "createdAt" in filters:
        ids = [id_ for id_ in ids if runs[id_].created_at >= filters["createdAt"]["$gte"]]
    first = int(variables["cursor"] or 0)
    shown = ids[first : first + variables["perPage"]]
    edges = [
        {"node": _node(id_, runs[id_]), "cursor": str(number)}
        for number, id_ in enumerate(shown, start=first + 1)
    ]
    has_next = first + len(shown) < len(ids)
    page = {"endCursor": str(first + len(shown)), "hasNextPage": has_next}
    return {
        "runCount": len(ids),
        "readOnly": True,
        "runs": {"edges": edges, "pageInfo": page, "totalCount": len(ids)},
    }


def _run(server: Any, runs: Any, query: str, variables: Any) -> dict[str, Any]:
    id_ = variables["name"]
    return {"run": _node(id_, runs[id_]) if id_ in runs else None}


def _node(id_: str, run: Any) -> dict[str, Any]:
    return {
        "id": f"id-of-{id_}",
        "projectId": "7",
        "name": id_,
        "displayName": run.display_name,
        "sweepName": run.sweep,
        "state": run.state,
        "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
        "group": run.group,
        "jobType": run.job_type,
        "tags": run.tags,
        "notes": run.notes,
        "description": None,
        "commit": None,
        "readOnly": True,
        "createdAt": run.created_at,
        "heartbeatAt": run.heartbeat_at,
        "systemMetrics": "{}",
        "summaryMetrics": json.dumps(_speakable(run.summary)),
        "historyLineCount": len(run.rows),
        "user": {"name": "Me", "username": "me"},
        "historyKeys": _history_keys(run),
    }


def _history_keys(run: Any) -> dict[str, Any] | None:
    if not run.rows:
        return None
    keys = {key for row in run.rows.values() for key in row}
    counts = {key: {"typeCounts": [{"type": "number", "count": 1}]} for key in sorted(keys)}
    return {"keys": counts, "lastStep": max(run.rows), "sets": []}


def _keys(server: Any, runs: Any, query: str, variables: Any) -> dict[str, Any]:
    return {"run": {"historyKeys": _history_keys(runs[variables["name"]])}}


def _exported(server: Any, runs: Any, query: str, variables: Any) -> dict[str, Any]:
    id_ = variables["runName"]
    run = runs[id_]
    urls = [f"{server.url}/storage/exports/{id_}"] if run.exported else []
    live = [{"_step": step} for step in sorted(run.rows) if step >= run.exported]
    return {"run": {"parquetHistory": {"parquetUrls": urls, "liveData": live}}}


def parquet_of(run: Any) -> bytes:
    """Give the rows that the server has exported."""
    import pyarrow
    import pyarrow.parquet

    rows = [row for step, row in sorted(run.rows.items()) if step < run.exported]
    names = sorted({key for row in rows for key in row})
    columns = {name: [row.get(name) for row in rows] for name in names}
    written = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), written)
    return written.getvalue()


def _page(server: Any, runs: Any, query: str, variables: Any) -> dict[str, Any]:
    run = runs[variables["run"]]
    low, high = variables["minStep"], variables["maxStep"]
    found = [row for step, row in sorted(run.rows.items()) if low <= step < high]
    lines = [json.dumps(_speakable(row)) for row in found[: variables["pageSize"]]]
    return {"run": {"history": lines}}


def _full(server: Any, runs: Any, query: str, variables: Any) -> dict[str, Any]:
    assert "events(samples" in query, "samples of a history are not the history"
    events = runs[variables["name"]].events[: variables["samples"]]
    return {"run": {"events": [json.dumps(row) for row in events]}}


def _files(server: Any, runs: Any, query: str, variables: Any) -> dict[str, Any]:
    id_ = variables["name"]
    run, wanted = runs[id_], variables["fileNames"]
    names = [name for name in sorted(run.files) if not wanted or name in wanted]
    first = int(variables["fileCursor"] or 0)
    shown = names[first : first + variables["fileLimit"]]
    edges = []
    for number, name in enumerate(shown, start=first + 1):
        url, content = f"{server.url}/storage/runs/{id_}/{name}", run.files[name]
        node = {"id": name, "name": name, "url": url, "directUrl": url, "mimetype": "text/plain"}
        node |= {"sizeBytes": len(content), "updatedAt": run.created_at, "md5": _md5(content)}
        edges.append({"node": node, "cursor": str(number)})
    has_next = first + len(shown) < len(names)
    page = {"endCursor": str(first + len(shown)), "hasNextPage": has_next}
    return {"run": {"fileCount": len(names), "files": {"edges": edges, "pageInfo": page}}}


def _artifacts(server: Any, runs: Any, query: str, variables: Any) -> dict[str, Any]:
    is_output = name_of(query) == "RunOutputArtifacts"
    run = runs[variables["run"]]
    ids = [
        id_
        for id_, artifact in server.artifacts.items()
        if (id_ in run.used if not is_output else artifact["run"] == variables["run"])
    ]
    found = [_artifact(id_, server.artifacts[id_], variables) for id_ in ids]
    edges = [{"node": node, "cursor": str(number)} for number, node in enumerate(found)]
    connection = {"totalCount": len(found), "pageInfo": _LAST_PAGE, "edges": edges}
    return {"run": {"artifacts": connection}}


def _artifact(id_: str, artifact: Any, variables: Any) -> dict[str, Any]:
    where = {"__typename": "ArtifactSequence", "name": artifact["name"]}
    where["project"] = _project(variables["entity"], variables["project"])
    return {
        "__typename": "Artifact",
        "id": id_,
        "artifactSequence": where,
        "versionIndex": artifact["version"],
        "artifactType": {"name": artifact["type"]},
        "description": None,
        "metadata": artifact["metadata"],
        "ttlDurationSeconds": -2,
        "ttlIsInherited": True,
        "tags": [],
        "historyStep": None,
        "state": artifact["state"],
        "size": sum(map(len, artifact["files"].values())),
        "digest": artifact["digest"],
        "digestAlgorithm": "MANIFEST_MD5",
        "commitHash": "c",
        "fileCount": len(artifact["files"]),
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
        "aliases": [],
    }


def _sweep(server: Any, runs: Any, query: str, variables: Any) -> dict[str, Any]:
    sweep = server.sweeps.get(variables["name"])
    known = {"__typename": "Sweep", "id": "s", "name": variables["name"], "bestLoss": None}
    return {"sweep": None if sweep is None else {**known, **sweep}}


def _project(entity: str, name: str) -> dict[str, Any]:
    return {
        "__typename": "Project",
        "id": name,
        "internalId": "UHJvamVjdEludGVybmFsSWQ6Nw==",
        "name": name,
        "entityName": entity,
        "entity": {"name": entity},
        "createdAt": "2026-01-01T00:00:00Z",
        "isBenchmark": False,
    }


def _speakable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row as W&B sends it: what JSON has no name for is a text, 1.0 is 1."""
    return {key: _spoken(value) for key, value in row.items()}


def _spoken(value: Any) -> Any:
    if isinstance(value, dict):
        return _speakable(value)
    if isinstance(value, float):
        if value != value:
            return "NaN"
        return _SPECIAL.get(value, int(value) if value.is_integer() and abs(value) < 1e9 else value)
    return value


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


_ANSWERS = {
    "Runs": _runs,
    "Run": _run,
    "RunHistoryKeys": _keys,
    "RunParquetHistory": _exported,
    "HistoryPage": _page,
    "RunFullHistory": _full,
    "RunFiles": _files,
    "RunOutputArtifacts": _artifacts,
    "RunInputArtifacts": _artifacts,
    "GetSweep": _sweep,
}
