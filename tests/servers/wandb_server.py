"""How does a W&B server answer what its SDK and the W&B flavor ask for?

A row of the history has the place that its number, `_step`, says: W&B's documentation has it that a
run that is sent again under the same id overwrites what is there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import attrs
from recording_server import Answer, RecordingServer, Request
from wandb_reading import parquet_of, read_answer

_STREAM = re.compile(r"/files/(?P<entity>[^/]+)/(?P<project>[^/]+)/(?P<run>[^/]+)/file_stream")

_CONTENTS = re.compile(r"/artifactsV2/[^/]+/[^/]+/[^/]+/[^/]+/.*?(?P<digest>[0-9a-f]{32})/.+")


@attrs.define
class WandbRun:
    """What the server has of one run."""

    project: str
    entity: str
    display_name: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = attrs.field(factory=list)
    config: dict[str, Any] = attrs.field(factory=dict)
    rows: dict[int, dict[str, Any]] = attrs.field(factory=dict)
    summary: dict[str, Any] = attrs.field(factory=dict)
    files: dict[str, bytes] = attrs.field(factory=dict)
    is_complete: bool = False
    exit_code: int | None = None
    notes: str | None = None
    sweep: str | None = None
    created_at: str = "2026-01-01T00:00:00Z"
    heartbeat_at: str = "2026-01-01T01:00:00Z"
    events: list[dict[str, Any]] = attrs.field(factory=list)
    used: list[str] = attrs.field(factory=list)  # ids of artifacts
    exported: int = 0  # rows below this step stand in a Parquet file

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of the history."""
        return [self.rows[number] for number in sorted(self.rows)]

    def values(self, key: str, step: str = "trackyard_step") -> list[tuple[Any, Any]]:
        """Give step and value of each point of a metric, in the order of the history."""
        return [(row.get(step), row[key]) for row in self.history if key in row]

    @property
    def state(self) -> str:
        """The state that the page shows."""
        if not self.is_complete:
            return "running"
        return "failed" if self.exit_code else "finished"


class WandbServer(RecordingServer):
    """A W&B server; it knows one API key, whose entity is `acme`."""

    API_KEY = "k" * 40

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, WandbRun] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.manifests: dict[str, bytes] = {}
        self.sweeps: dict[str, dict[str, Any]] = {}
        # What agents are told to do: the ids and configs of trials.
        self.trials: list[tuple[str, dict[str, Any]]] = []

    @property
    def only(self) -> WandbRun:
        """The only run."""
        (found,) = self.runs.values()
        return found

    def named(self, name: str) -> WandbRun:
        """The only run of a display name."""
        (found,) = [run for run in self.runs.values() if run.display_name == name]
        return found

    def answer(self, request: Request) -> Answer:
        """Answer as W&B does."""
        if request.path.startswith("/storage/"):
            return self._storage(request)
        shown = base64.b64encode(f"api:{self.API_KEY}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {shown}":
            return Answer.of_json({"errors": [{"message": "no such API key"}]}, 401)
        with self.changed:
            if request.path == "/graphql":
                return self._graphql(request.json["query"], request.json.get("variables") or {})
            if found := _CONTENTS.fullmatch(request.path):
                return self._contents(found["digest"])
            if found := _STREAM.fullmatch(request.path):
                self._stream(self.runs[found["run"]], request.json)
        return Answer.of_json({})

    def _graphql(self, query: str, variables: dict[str, Any]) -> Answer:
        data: dict[str, Any] = {}
        is_own = "summaryMetrics\n    files(" in query or "{ run(name: $name) { id } }" in query
        read = None if is_own else read_answer(self, query, variables)
        if read is not None:
            data = read
        elif "upsertBucket" in query:
            data = self._upsert(variables)
        elif "createRunFiles" in query:
            place = f"{self.url}/storage/runs/{variables['run']}"
            files = [{"name": f, "uploadUrl": f"{place}/{f}"} for f in variables["files"]]
            made = {"runID": variables["run"], "uploadHeaders": [], "files": files}
            data = {"createRunFiles": made}
        elif "createArtifact(" in query:
            data = self._create_artifact(variables["input"])
        elif "createArtifactManifest(" in query:
            data = {"createArtifactManifest": {"artifactManifest": self._manifest(variables)}}
        elif "createArtifactFiles(" in query:
            data = self._artifact_files(variables["input"])
        elif "commitArtifact" in query:
            self.artifacts[variables["artifactID"]]["state"] = "COMMITTED"
            data = {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": "d"}}}
        elif "deleteRun(" in query:
            del self.runs[variables["id"].removeprefix("id-of-")]
            data = {"deleteRun": {"clientMutationId": None}}
        elif "summaryMetrics" in query:
            data = {"project": {"run": self._read(self.runs[variables["name"]], variables)}}
        elif "run(name: $name)" in query:
            data = {"project": self._find(**variables)}
        elif "createAgent(" in query:
            data = {"createAgent": {"agent": {"id": f"agent-of-{variables['sweep']}"}}}
        elif "agentHeartbeat(" in query:
            data = {"agentHeartbeat": {"agent": {"id": variables["id"]}, "commands": self._next()}}
        elif "serverInfo" in query:
            data = {"serverInfo": {"features": []}}
        elif "viewer" in query:
            who = {"id": "1", "entity": "acme", "username": "me", "email": "me@example.com"}
            data = {"viewer": {**who, "flags": "{}", "teams": {"edges": []}}}
        return Answer.of_json({"data": data})

    def _next(self) -> str:
        """Give an agent its next trial."""
        if not self.trials:
            return "[]"
        name, config = self.trials.pop(0)
        args = {key: {"value": value} for key, value in config.items()}
        return json.dumps([{"type": "run", "run_id": name, "args": args}])

    def _find(self, name: str, project: str, entity: str | None) -> dict[str, Any] | None:
        place = project, entity or "acme"
        if place not in {(run.project, run.entity) for run in self.runs.values()}:
            return None
        found = self.runs.get(name)
        is_here = found is not None and place == (found.project, found.entity)
        return {"run": {"id": f"id-of-{name}"} if is_here else None}

    def _read(self, run: WandbRun, variables: dict[str, Any]) -> dict[str, Any]:
        """Give the summary, and one file a page."""
        first = int(variables["after"] or 0)
        place = f"{self.url}/storage/runs/{variables['name']}"
        names = sorted(run.files)[first : first + 1]
        page = {"hasNextPage": first + 1 < len(run.files), "endCursor": str(first + 1)}
        edges = [{"node": {"name": name, "url": f"{place}/{name}"}} for name in names]
        files = {"edges": edges, "pageInfo": page}
        return {"summaryMetrics": json.dumps(run.summary), "files": files}

    def _upsert(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables["name"]
        is_new = name not in self.runs
        place = variables.get("project") or "uncategorized", variables.get("entity") or "acme"
        run = self.runs.setdefault(name, WandbRun(*place))
        run.display_name = variables.get("displayName") or run.display_name
        run.group = variables.get("groupName") or run.group
        run.job_type = variables.get("jobType") or run.job_type
        run.notes = variables.get("notes") or run.notes
        run.sweep = variables.get("sweep") or run.sweep
        run.tags = variables.get("tags") or run.tags
        config = json.loads(variables.get("config") or "{}")
        run.config |= {key: entry.get("value") for key, entry in config.items()}
        bucket = {
            "id": f"id-of-{name}",
            "name": name,
            "displayName": run.display_name,
            "historyLineCount": len(run.rows),
            "project": {
                "id": run.project,
                "name": run.project,
                "entity": {"id": run.entity, "name": run.entity},
            },
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}

    def _stream(self, run: WandbRun, content: dict[str, Any]) -> None:
        for name, part in content.get("files", {}).items():
            if not name.startswith("wandb-"):  # the console, which comes as a file, too
                continue
            lines = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                run.rows |= {line["_step"]: line for line in lines}
            elif name == "wandb-summary.json":
                run.summary |= lines[-1]
            elif name == "wandb-events.jsonl":
                run.events += lines
        run.is_complete = bool(content.get("complete"))
        run.exit_code = content.get("exitcode")

    def _create_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        id_ = f"artifact-{len(self.artifacts)}"
        name = given["artifactCollectionName"]
        version = len([a for a in self.artifacts.values() if a["name"] == name])
        self.artifacts[id_] = {
            "name": name,
            "type": given["artifactTypeName"],
            "files": {},
            "run": given.get("runName"),
            "digest": given.get("digest"),
            "metadata": given.get("metadata"),
            "version": version,
        }
        made = {"id": id_, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": made}}

    def _manifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        place = f"{self.url}/storage/manifests/{variables['artifactID']}"
        file = {"id": "1", "uploadUrl": place, "uploadHeaders": [], "directUrl": place, "name": "m"}
        return {"id": "manifest", "file": file}

    def _artifact_files(self, given: dict[str, Any]) -> dict[str, Any]:
        edges = []
        for file in given["artifactFiles"]:
            id_, name = file["artifactID"], file["name"]
            url = f"{self.url}/storage/artifacts/{id_}/{name}"
            node = {"id": name, "name": name, "displayName": name, "uploadUrl": url}
            node |= {"storagePath": name, "uploadHeaders": [], "uploadMultipartUrls": None}
            edges.append({"node": {**node, "artifact": {"id": id_}}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _storage(self, request: Request) -> Answer:
        _, kind, id_, *name = request.path.removeprefix("/").split("/")
        if request.method == "GET":
            return Answer(body=self._stored(kind, id_, "/".join(name)))
        with self.changed:
            if kind == "runs":
                self.runs[id_].files["/".join(name)] = request.body
            elif kind == "artifacts":
                self.artifacts[id_]["files"]["/".join(name)] = request.body
            elif kind == "manifests":
                self.manifests[id_] = request.body
        return Answer()

    def _contents(self, digest: str) -> Answer:
        """Give a file of an artifact, which W&B finds by its digest."""
        files = (content for art in self.artifacts.values() for content in art["files"].values())
        for content in files:
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == digest:
                return Answer(body=content)
        return Answer(status=404)

    def _stored(self, kind: str, id_: str, name: str) -> bytes:
        if kind == "exports":
            return parquet_of(self.runs[id_])
        if kind == "manifests":
            return self.manifests[id_]
        files = self.runs[id_].files
        return self.artifacts[id_]["files"][name] if kind == "artifacts" else files[name]
