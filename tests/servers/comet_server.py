"""How does a Comet server answer what its SDK and the Comet flavor ask for?

It keeps every point that arrives, also one that comes twice, as the real one does.
"""

from __future__ import annotations

import json
from email.parser import BytesParser
from typing import Any

import attrs
from recording_server import Answer, RecordingServer, Request

_WRITE = "/api/rest/v2/write/experiment/"
_READ = "/api/rest/v2/experiment/"
_API = "/api/rest/v2/"
_LISTS = {"account-details", "projects", "experiments", "workspaces"}


@attrs.define
class Experiment:
    """What the server has of one experiment."""

    project: str | None = None
    workspace: str | None = None
    metrics: list[dict[str, Any]] = attrs.field(factory=list)
    params: dict[str, Any] = attrs.field(factory=dict)
    others: dict[str, Any] = attrs.field(factory=dict)
    tags: list[str] = attrs.field(factory=list)
    files: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    times: dict[str, Any] = attrs.field(factory=dict)
    details: dict[str, Any] = attrs.field(factory=dict)
    state: str = "none"
    error: str | None = None
    html: str = ""
    output: str = ""
    optimizer: str | None = None

    def values(self, name: str) -> list[tuple[Any, Any]]:
        """Give step and value of each point of a metric, in the order of arrival."""
        found = [point for point in self.metrics if point["metricName"] == name]
        return [(point["step"], point["metricValue"]) for point in found]


class CometServer(RecordingServer):
    """A Comet server; it knows one API key."""

    API_KEY = "k" * 25

    def __init__(self) -> None:
        super().__init__()
        self.experiments: dict[str, Experiment] = {}

    @property
    def only(self) -> Experiment:
        """The only experiment."""
        (found,) = self.experiments.values()
        return found

    def named(self, name: str) -> Experiment:
        """The only experiment of a name."""
        (found,) = [e for e in self.experiments.values() if e.others.get("Name") == name]
        return found

    def answer(self, request: Request) -> Answer:
        """Answer as Comet does."""
        if request.path == "/clientlib/isAlive/ver":
            return Answer.of_json({"version": "5.0.0", "msg": "Healthy Server"})
        if request.headers.get("authorization", self.API_KEY) != self.API_KEY:
            return Answer.of_json({"msg": "no such API key"}, 401)
        with self.changed:
            return self._answer(request)

    def _answer(self, request: Request) -> Answer:
        path = request.path
        if path == f"{_WRITE}delete":
            self.experiments.pop(request.query["experimentKey"][0], None)
            return Answer.of_json({})
        if path.startswith(_WRITE):
            content = request.json
            experiment = self.experiments[content.pop("experimentKey")]
            return self._write(path.removeprefix(_WRITE), experiment, content)
        if path.removeprefix(_API) in _LISTS:
            return self._list(path.removeprefix(_API), request)
        if path.startswith(_READ) and "experimentKey" in request.query:
            found = self.experiments.get(request.query["experimentKey"][0])
            return self._read(path.removeprefix(_READ), found, request)
        if path.startswith("/clientlib/logger/"):
            return self._handshake(path, request.json)
        if path.startswith("/clientlib/batch/logger/experiment/"):
            content = request.json
            experiment = self.experiments[content["experimentKey"]]
            if path.endswith("metric"):
                experiment.metrics += content["values"]
            else:
                for value in content["values"]:
                    experiment.params[value["parameterName"]] = value["parameterValue"]
        if path.endswith("/upload"):
            self._upload(request)
        if path == "/clientlib/status-report/update":
            beats = ("is_alive_beat_duration_millis", "gpu_monitor_interval_millis")
            return Answer.of_json({**dict.fromkeys(beats, 60000), "pending_rpcs": False})
        return Answer.of_json({})

    def _handshake(self, path: str, content: dict[str, Any]) -> Answer:
        key = content.get("previousExperiment") or content["experimentKey"]
        if content["apiKey"] != self.API_KEY:
            return Answer.of_json({"msg": "no such API key"}, 401)
        if path.endswith("get/run"):
            experiment = self.experiments[key]
        else:
            place = (content["projectName"], content["teamName"] or "default")
            experiment = self.experiments.setdefault(key, Experiment(*place))
        focus = f"{self.url}/{experiment.workspace}/{experiment.project}/"
        return Answer.of_json(
            {"runId": f"run-{key}", "project_id": "1", "focusUrl": focus, "featureToggles": []}
        )

    def _write(self, what: str, experiment: Experiment, content: dict[str, Any]) -> Answer:
        if what == "log-other":
            experiment.others[content["key"]] = content["value"]
        elif what == "tags":
            experiment.tags += [tag for tag in content["addedTags"] if tag not in experiment.tags]
        elif what == "tags/delete":
            experiment.tags = [tag for tag in experiment.tags if tag not in content["tags"]]
        elif what == "set-start-end-time":
            experiment.times = content
        elif what in ("system-details", "git/metadata", "file-path"):
            experiment.details |= content
        elif what == "output":
            experiment.output += "".join(line["output"] for line in content["outputLines"])
        elif what == "html":
            before = "" if content["override"] else experiment.html
            experiment.html = before + content["html"]
        elif what == "update-status":
            experiment.error = content["error"]
            ended = "crashed" if content["hasCrashed"] else "finished"
            experiment.state = "running" if content["isAlive"] else ended
        return Answer.of_json({})

    def _list(self, what: str, request: Request) -> Answer:
        """Give names, or what is known of each experiment of a project, a page at a time."""
        if what == "account-details":
            return Answer.of_json({"userName": "me", "defaultWorkspaceName": "default"})
        if what == "workspaces":
            names = sorted({str(found.workspace) for found in self.experiments.values()})
            return Answer.of_json({"workspaces": names})
        place = request.query["workspaceName"][0]
        known = {k: e for k, e in self.experiments.items() if e.workspace == place}
        if what == "projects":
            projects = sorted({str(found.project) for found in known.values()})
            return Answer.of_json({"projects": [{"projectName": name} for name in projects]})
        name = request.query["projectName"][0]
        shown = [_metadata(k, e) for k, e in known.items() if e.project == name]
        if not shown:
            return Answer.of_json({"msg": f"no such project: {name}"}, 400)
        if "page" in request.query:
            size, page = int(request.query["size"][0]), int(request.query["page"][0])
            shown = shown[(page - 1) * size : page * size]
        return Answer.of_json({"experiments": shown})

    def _read(self, what: str, experiment: Experiment | None, request: Request) -> Answer:
        if experiment is None:
            return Answer.of_json({"msg": "no such experiment"}, 404)
        if what == "metrics/get-metric":
            name = request.query["metricName"][0]
            return Answer.of_json(
                {"metrics": [p for p in experiment.metrics if p["metricName"] == name]}
            )
        if what == "asset/get-asset":
            return Answer(experiment.files[request.query["assetId"][0]]["content"])
        if what == "metadata":
            return Answer.of_json(_metadata(request.query["experimentKey"][0], experiment))
        if what == "tags":
            return Answer.of_json({"tags": experiment.tags})
        if what in ("output", "html"):
            return Answer.of_json({what: getattr(experiment, what)})
        if what == "system-details":
            return Answer.of_json(experiment.details)
        if what == "git/metadata":
            said = {k: experiment.details.get(k) for k in ("parent", "branch", "origin")}
            return Answer.of_json({"metadata": said})
        if what == "asset/list":
            shown = [{**file, "content": None} for file in experiment.files.values()]
            return Answer.of_json({"assets": shown})
        values: dict[str, Any] = {
            "parameters": experiment.params,
            "log-other": experiment.others,
            "metrics/summary": {point["metricName"]: None for point in experiment.metrics},
        }.get(what, {})
        listed = [{"name": name, "valueCurrent": value} for name, value in values.items()]
        return Answer.of_json({"values": listed})

    def _upload(self, request: Request) -> None:
        options = {name: values[0] for name, values in request.query.items()}
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + request.body).get_payload()
        part = next(p for p in parts if p.get_param("name", header="Content-Disposition") == "file")
        id_ = options.get("assetId") or options["imageId"]
        name = options.get("fileName") or options.get("figName")
        self.experiments[options["experimentId"]].files[id_] = {
            "assetId": id_,
            "fileName": name,
            "image": "imageId" in options,
            "type": options.get("type", "asset"),
            "groupingName": options.get("groupingName"),
            "step": json.loads(options.get("step", "null")),
            "content": part.get_payload(decode=True),
        }


def _metadata(key: str, experiment: Experiment) -> dict[str, Any]:
    return {
        "archived": False,
        "experimentKey": key,
        "experimentName": experiment.others.get("Name"),
        "optimizationId": experiment.optimizer,
        "projectId": "1",
        "projectName": experiment.project,
        "workspaceName": experiment.workspace,
        "userName": "me",
        "running": experiment.state == "running",
        "hasCrashed": experiment.state == "crashed",
        "startTimeMillis": experiment.times.get("startTimeMillis") or 1_700_000_000_000,
        "endTimeMillis": experiment.times.get("endTimeMillis") or 1_700_000_005_000,
        "durationMillis": len(experiment.metrics),
        "throttle": False,
        "filePath": None,
        "fileName": None,
    }
