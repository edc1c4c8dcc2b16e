"""How does a server of Neptune's kind answer what Neptune's SDK asks for?

As the hosted one did, it refuses a point whose step does not increase, a value of another type than
its field has, and a token that it does not know. Where things are, the SDK learns from its Swagger.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
import time
import uuid
from typing import Any

import attrs
from recording_server import Answer, RecordingServer, Request

# operationId: method, path, and how each argument is sent.
_TOKEN = {"X-Neptune-Api-Token": "header"}
_BACKEND = {
    "getClientConfig": ("get", "/clients/config", {**_TOKEN, "alpha": "query"}),
    "exchangeApiToken": ("get", "/authorization/oauth-token", _TOKEN),
    "getProject": ("get", "/projects/get", {"projectIdentifier": "query"}),
    "listProjects": (
        "get",
        "/projects",
        dict.fromkeys(
            (
                "organizationIdentifier",
                "limit",
                "searchTerm",
                "sortBy",
                "sortDirection",
                "userRelation",
            ),
            "query",
        ),
    ),
    "listOrganizations": ("get", "/organizations", {}),
}
_ID, _FIELD = {"experimentId": "query"}, {"experimentId": "query", "attribute": "query"}
_UPLOAD = {"experimentIdentifier": "query", "attribute": "query", "ext": "query"}
_LEADERBOARD = {
    "createExperiment": (
        "post", "/experiments",
        {"experimentCreationParams": "body", "X-Neptune-CliVersion": "header"},
    ),
    "getExperiment": ("get", "/experiments", _ID),
    "getExperimentAttributes": ("get", "/attributes", _ID),
    "executeOperations": ("post", "/operations", {**_ID, "operations": "body"}),
    "ping": ("post", "/ping", _ID),
    "getFloatSeriesValues": (
        "get", "/series", {**_FIELD, "limit": "query", "offset": "query"},
    ),
    "searchLeaderboardEntries": (
        "post", "/search", {"projectIdentifier": "query", "type": "query", "params": "body"},
    ),
    "searchLeaderboardAttributes": (
        "post", "/search/attributes", {"projectIdentifier": "query", "params": "body"},
    ),
    "trashExperiments": (
        "post", "/trash", {"projectIdentifier": "query", "experimentIdentifiers": "body"},
    ),
    "downloadAttribute": ("get", "/download", _FIELD),
    "fileAtomUpload": ("post", "/files", _UPLOAD),
    "fileAtomMultipartUploadStart": ("post", "/files/start", {**_UPLOAD, "totalLength": "query"}),
    "fileAtomMultipartUploadFinish": ("post", "/files/finish", {**_UPLOAD, "uploadId": "query"}),
    "fileAtomMultipartUploadPart": ("post", "/files/part", {**_UPLOAD, "uploadId": "query"}),
    "fileSetFileUpload": ("post", "/sets", {**_UPLOAD, "subPath": "query"}),
    "fileSetFileMultipartUploadStart": ("post", "/sets/start", _UPLOAD),
    "fileSetFileMultipartUploadFinish": ("post", "/sets/finish", _UPLOAD),
    "fileSetFileMultipartUploadPart": ("post", "/sets/part", _UPLOAD),
    "uploadFileSetAttributeTar": ("post", "/sets/tar", _FIELD),
}  # fmt: skip
_ANY = {"$ref": "#/definitions/Any"}
_LISTS = {"executeOperations", "listOrganizations", "trashExperiments"}
_TYPES = {
    "assignFloat": "float",
    "assignInt": "int",
    "assignBool": "bool",
    "assignString": "string",
    "insertStrings": "stringSet",
    "removeStrings": "stringSet",
    "logFloats": "floatSeries",
    "logStrings": "stringSeries",
}


@attrs.define
class Container:
    """What the server has of one run."""

    id: str
    short_id: str
    custom_id: str | None
    fields: dict[str, Any] = attrs.field(factory=dict)
    types: dict[str, str] = attrs.field(factory=dict)
    files: dict[str, bytes] = attrs.field(factory=dict)
    refused: list[str] = attrs.field(factory=list)
    is_trashed: bool = False

    def values(self, name: str) -> list[tuple[Any, Any]]:
        """Give step and value of each point of a series."""
        return [(point["step"], point["value"]) for point in self.fields.get(name, [])]


class NeptuneServer(RecordingServer):
    """A server; it knows one token, and the project `acme/fraud`."""

    PROJECT = "acme/fraud"

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, Container] = {}
        content = {"api_address": self.url, "api_url": self.url, "api_key": "key"}
        self.token = base64.b64encode(json.dumps(content).encode()).decode()

    @property
    def only(self) -> Container:
        """The only run."""
        (found,) = [run for run in self.runs.values() if not run.is_trashed]
        return found

    def answer(self, request: Request) -> Answer:
        """Answer as the hosted one did."""
        with self.changed:
            try:
                return self._answer(request)
            except KeyError:
                kind = "EXPERIMENT_NOT_FOUND" if "experimentId" in request.query else "NOT_FOUND"
                return Answer.of_json({"title": "not found", "errorType": kind}, 404)

    def _answer(self, request: Request) -> Answer:
        for base, operations in (("/api/backend", _BACKEND), ("/api/leaderboard", _LEADERBOARD)):
            if request.path == f"{base}/swagger.json":
                return Answer.of_json(self._swagger(base, operations))
            for name, (method, path, _) in operations.items():
                if request.line == f"{method.upper()} {base}/v1{path}":
                    return self._operation(name, request)
        if request.path.endswith("/protocol/openid-connect/token"):
            return Answer.of_json(self._tokens())
        return Answer.of_json({"title": "not found"}, 404)

    def _swagger(self, base: str, operations: dict[str, Any]) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        for name, (method, path, arguments) in operations.items():
            parameters = [
                {"name": argument, "in": where, "type": "string"}
                if where != "body"
                else {"name": argument, "in": "body", "schema": {}}
                for argument, where in arguments.items()
            ]
            schema = {"type": "array", "items": _ANY} if name in _LISTS else _ANY
            if name == "getExperimentAttributes":
                schema = {"$ref": "#/definitions/Attributes"}
            if name == "getFloatSeriesValues":
                schema = {"$ref": "#/definitions/Series"}
            paths.setdefault(f"{base}/v1{path}", {})[method] = {
                "operationId": name,
                "tags": ["api"],
                "parameters": parameters,
                "responses": {"200": {"description": "", "schema": schema}},
            }
        fields = {f"{kind}Properties": _ANY for kind in _TYPES.values()}
        definitions = {
            "Any": {"type": "object", "properties": {}},
            "Attribute": {"type": "object", "properties": {"type": {"type": "string"}, **fields}},
            "Attributes": _object(attributes={"$ref": "#/definitions/Attribute"}),
            "Series": _object(values=_ANY),
        }
        host = self.url.partition("//")[2]
        top = {"swagger": "2.0", "info": {"title": base, "version": "1"}, "host": host}
        return {
            **top,
            "basePath": "/",
            "schemes": ["http"],
            "paths": paths,
            "definitions": definitions,
        }

    def _operation(self, name: str, request: Request) -> Answer:
        token = request.headers.get("x-neptune-api-token")
        is_known = request.headers.get("authorization", "").startswith("Bearer ")
        if token != self.token if name in ("getClientConfig", "exchangeApiToken") else not is_known:
            return Answer.of_json({"title": "unknown token"}, 401)
        query = {key: values[0] for key, values in request.query.items()}
        if name in ("downloadAttribute", "fileAtomUpload"):
            return self._file(name, query, request.body)
        found = getattr(self, f"_{name}")(query, request)
        return Answer.of_json(found)

    def _getClientConfig(self, query: Any, request: Request) -> Any:
        return {"apiUrl": self.url, "applicationUrl": self.url, "pyLibVersions": {}}

    def _exchangeApiToken(self, query: Any, request: Request) -> Any:
        tokens = self._tokens()
        return {"accessToken": tokens["access_token"], "refreshToken": tokens["refresh_token"]}

    def _tokens(self) -> dict[str, Any]:
        facts = {"exp": int(time.time()) + 3600, "azp": "client", "iss": f"{self.url}/auth"}
        parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, facts)]
        encoded = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts]
        token = ".".join([*encoded, "c2ln"])
        return {"access_token": token, "refresh_token": token, "token_type": "bearer"}

    def _getProject(self, query: dict[str, str], request: Request) -> Any:
        if query["projectIdentifier"] != self.PROJECT:
            raise KeyError(query)
        names = {"name": "fraud", "organizationName": "acme", "projectKey": "FRAUD"}
        return {"id": "project-id", "version": 2, **names}

    def _listProjects(self, query: Any, request: Request) -> Any:
        return {"entries": []}

    def _listOrganizations(self, query: Any, request: Request) -> Any:
        return []

    def _createExperiment(self, query: Any, request: Request) -> Any:
        custom = request.json.get("customId")
        for run in self.runs.values():
            if custom and run.custom_id == custom and not run.is_trashed:
                return self._shown(run)
        id_ = str(uuid.uuid4())
        run = self.runs[id_] = Container(id_, f"FRAUD-{len(self.runs) + 1}", custom)
        return self._shown(run)

    def _getExperiment(self, query: dict[str, str], request: Request) -> Any:
        return self._shown(self.runs[query["experimentId"]])

    def _shown(self, run: Container) -> dict[str, Any]:
        names = {"projectName": "fraud", "organizationName": "acme", "type": "run"}
        return {"id": run.id, "shortId": run.short_id, "trashed": run.is_trashed, **names}

    def _getExperimentAttributes(self, query: dict[str, str], request: Request) -> Any:
        run = self.runs[query["experimentId"]]
        shown = []
        for name, kind in run.types.items():
            value = run.fields.get(name)
            what = {"values": value} if kind == "stringSet" else {"value": value}
            if kind.endswith("Series"):
                what = {"last": value[-1]["value"]}
            shown.append({"name": name, "type": kind, f"{kind}Properties": what})
        return {"attributes": shown}

    def _executeOperations(self, query: dict[str, str], request: Request) -> Any:
        run = self.runs[query["experimentId"]]
        errors: list[str] = []
        for operation in request.json:
            path = operation.pop("path")
            ((name, value),) = operation.items()
            if name.startswith(("clear", "config")):  # how a series is shown
                continue
            kind = _TYPES[name]
            if run.types.setdefault(path, kind) != kind:
                errors.append(f"{path} is a {run.types[path]}, not a {kind}")
            elif name == "insertStrings":
                known = run.fields.setdefault(path, [])
                known += [word for word in value["values"] if word not in known]
            elif name == "removeStrings":
                known = run.fields.setdefault(path, [])
                known[:] = [word for word in known if word not in value["values"]]
            elif name.startswith("log"):
                errors += _log(run.fields.setdefault(path, []), path, value["entries"])
            else:
                run.fields[path] = value["value"]
        run.refused += errors
        return [{"errorDescription": error} for error in errors]

    def _ping(self, query: dict[str, str], request: Request) -> Any:
        return self._shown(self.runs[query["experimentId"]])

    def _getFloatSeriesValues(self, query: dict[str, str], request: Request) -> Any:
        points = self.runs[query["experimentId"]].fields[query["attribute"]]
        first, limit = int(query["offset"]), int(query["limit"])
        found = [
            {"step": p["step"], "value": p["value"], "timestampMillis": p["timestampMilliseconds"]}
            for p in points[first : first + limit]
        ]
        return {"totalItemCount": len(points), "values": found}

    def _searchLeaderboardEntries(self, query: Any, request: Request) -> Any:
        asked = request.json
        wanted = re.search(r"`([^`]+)`:string = \"([^\"]*)\"", asked["query"]["query"])
        assert wanted, asked
        limit = asked["pagination"]["limit"]
        found = [
            run
            for run in self.runs.values()
            if run.fields.get(wanted[1]) == wanted[2] and not run.is_trashed
        ]
        entries = [{"experimentId": run.id, "attributes": []} for run in found[:limit]]
        return {"matchingItemCount": len(found), "entries": entries}

    def _searchLeaderboardAttributes(self, query: Any, request: Request) -> Any:
        return {"entries": [{"name": "sys/id", "type": "string"}]}

    def _trashExperiments(self, query: Any, request: Request) -> Any:
        for name in request.json:
            for run in self.runs.values():
                run.is_trashed |= name == f"{self.PROJECT}/{run.short_id}"
        return []

    def _fileSetFileUpload(self, query: dict[str, str], request: Request) -> Any:
        run = self.runs[query["experimentIdentifier"]]
        run.files[f"{query['attribute']}/{query['subPath']}"] = request.body
        return {"errors": []}

    def _uploadFileSetAttributeTar(self, query: dict[str, str], request: Request) -> Any:
        run = self.runs[query["experimentId"]]
        with tarfile.open(fileobj=io.BytesIO(request.body)) as archive:
            for member in archive:
                if (content := archive.extractfile(member)) is not None:
                    run.files[f"{query['attribute']}/{member.name}"] = content.read()
        return {"errors": []}

    def _file(self, name: str, query: dict[str, str], body: bytes) -> Answer:
        if name == "downloadAttribute":
            content = self.runs[query["experimentId"]].files[query["attribute"]]
            return Answer(content, media_type="application/octet-stream")
        run = self.runs[query["experimentIdentifier"]]
        run.types[query["attribute"]] = "file"
        run.files[query["attribute"]] = body
        return Answer.of_json({"errors": []})


def _object(**arrays: Any) -> dict[str, Any]:
    properties = {name: {"type": "array", "items": item} for name, item in arrays.items()}
    return {"type": "object", "properties": properties}


def _log(points: list[dict[str, Any]], path: str, entries: list[dict[str, Any]]) -> list[str]:
    """Append points; those whose step does not increase are refused."""
    errors = []
    for entry in entries:
        if entry["step"] is None:
            entry["step"] = points[-1]["step"] + 1 if points else 0
        if points and entry["step"] <= points[-1]["step"]:
            error = "X-coordinates (step) must be strictly increasing for series attribute"
            errors.append(f"{error}: {path}. Invalid point: {entry['step']}")
        else:
            points.append(entry)
    return errors
