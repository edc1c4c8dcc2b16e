"""How is a run written to a Comet server, and read from it?

By the requests that Comet's SDK sends (those of comet-ml 3.58). The SDK itself is no help here: it
holds one experiment in a process, drops what a server does not take, and uploads at most 15,000
points of a metric.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from trackyard.contract import (
    Artifact,
    Metric,
    Param,
    Record,
    RetryLater,
    RunDeleted,
    Tag,
    classify_answer,
    is_true_within,
)
from trackyard_comet.context import request_of
from trackyard_comet.histograms import own_histogram
from trackyard_comet.machine import from_comet
from trackyard_comet.messages import Identity, Message, kind_of, metric_identity, number

if TYPE_CHECKING:
    from requests import Response, Session

DEFAULT_URL = "https://www.comet.com"
# Most values in one request, as the SDK has it.
_LARGEST = 1000
# Seconds that the server may take to say that it is there, where the mode is "auto".
PROBE = 1.0


def is_reachable(url: str) -> bool:
    """Tell whether a server answers within a second."""
    import requests  # not part of the second

    def answers() -> bool:
        answer = requests.get(f"{url}/clientlib/isAlive/ver", timeout=PROBE)
        return bool(answer.status_code < 500)

    return is_true_within(PROBE, answers)


class CometServer:
    """A Comet server, for one run.

    Args:
        url: Its address, without a path.
        api_key: The user's key.
        key: The experiment's key, which is the run's id.
        deadline: Seconds that a hook may take.
        facts: What the handshake gave before, where it was kept.

    Raises:
        ValueError: There is no API key.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        key: str = "",
        deadline: float = 10.0,
        facts: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        if not api_key:
            raise ValueError("Comet needs an API key; set `api_key`, or type: comet login")
        self.url = url
        self.api_key = api_key
        self._key = key
        self._facts = facts
        self._deadline = deadline
        self._session = _new_session(api_key)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def start(self, project: str, workspace: str | None) -> dict[str, Any]:
        """Create the experiment or continue it; gives what is to be kept of the answer.

        Args:
            project: The project's name.
            workspace: The workspace's, or None for the key's own.
        """
        wanted = {
            "apiKey": self.api_key,
            "experimentKey": self._key,
            "offline": False,
            "projectName": project,
            "teamName": workspace,
            "libVersion": version("comet-ml"),
            "getOrCreateEnabled": True,
        }
        answer = self._request("POST", "clientlib/logger/add/run", json=wanted, allow=(400,))
        if answer.status_code == 400:  # an older server, which has the experiment already
            wanted = {"apiKey": self.api_key, "previousExperiment": self._key}
            wanted["libVersion"] = version("comet-ml")
            answer = self._request(
                "POST", "clientlib/logger/get/run", json=wanted, allow=(400, 404)
            )
            if not answer.ok:
                raise self._refusal(answer)
        found = answer.json()
        focus = found.get("focusUrl")
        self._facts = {
            "run_id": found["runId"],
            "project_id": found.get("project_id"),
            "url": f"{focus}{self._key}" if focus else None,
        }
        return dict(self._facts)

    def _refusal(self, answer: Response) -> Exception:
        """Say why there is no experiment: one that there was before has been deleted."""
        said = classify_answer(answer.status_code, answer.headers, answer.content)
        if said.verdict == "refused" and self._facts.get("run_id"):
            return RunDeleted(f"Comet has experiment {self._key} no more: {said.message}")
        return said.error(f"{self.url} has no experiment {self._key}")

    def show_as_alive(self, is_alive: bool = True) -> None:
        """Tell that the run lives, or has ended."""
        report = {
            "apiKey": self.api_key,
            "runId": self._facts["run_id"],
            "projectId": self._facts.get("project_id"),
            "experimentKey": self._key,
            "is_alive": is_alive,
            "offline": False,
        }
        self._request("POST", "clientlib/status-report/update", json=report)

    def set_state(self, *, is_alive: bool, has_crashed: bool = False, error: str = "") -> None:
        """Set the state that Comet shows: running, finished or crashed.

        Args:
            is_alive: It is running.
            has_crashed: It did not finish.
            error: What went wrong, or an empty text.
        """
        state = {"isAlive": is_alive, "error": error or None, "hasCrashed": has_crashed}
        self._write("update-status", **state)

    def set_times(self, started_at: int, ended_at: int | None) -> None:
        """Set start and end, in nanoseconds since the epoch.

        Args:
            started_at: The start.
            ended_at: The end, or None while it is running.
        """
        ended = ended_at // 1_000_000 if ended_at else None
        times = {"startTimeMillis": started_at // 1_000_000, "endTimeMillis": ended}
        self._write("set-start-end-time", **times)

    def add_tags(self, tags: Iterable[str]) -> None:
        """Add Comet's own tags, which are words; one that is there already stays one."""
        if tags := list(dict.fromkeys(tags)):
            self._write("tags", addedTags=tags)

    def remove_tags(self, tags: Iterable[str]) -> None:
        """Remove Comet's own tags; a server that is too old for that keeps them."""
        with suppress(ValueError):
            self._write("tags/delete", tags=[*tags])

    def set_html(self, html: str) -> None:
        """Set the HTML that Comet shows beside the experiment, in place of what is there."""
        self._write("html", html=html, override=True)

    def send(self, messages: Sequence[Message], *, others: Counter[Identity] | None = None) -> None:
        """Send messages, except those of kinds that only the SDK can send.

        Args:
            messages: The messages.
            others: Given where the server may have some of the points already, which are looked
                up then: how many it has that look like them, and are others.
        """
        by_kind: dict[str, list[Message]] = {}
        for message in messages:
            by_kind.setdefault(message["type"], []).append(message["payload"])
        metrics = by_kind.get("metric_msg", [])
        if metrics and others is not None:
            metrics = self._missing(metrics, others)
        self._send_batch("metric", [_metric_value(metric) for metric in metrics])
        params = by_kind.get("parameter_msg", [])
        self._send_batch("parameter", [_param_value(param) for param in params])
        self._send_output(by_kind.get("standard_output", []))
        for key, value in {m["key"]: m["value"] for m in by_kind.get("log_other", [])}.items():
            self._write("log-other", key=key, value=value)
        for message in messages:
            if message["type"] == "file_upload":
                self._upload(message["payload"], Path(message["source"]))
            elif (told := request_of(message)) is not None:
                self._write(told[0], **told[1])

    def read(self, folder: Path) -> Iterator[Record]:
        """Read the run back; files are downloaded to a folder."""
        for param in self._read("parameters")["values"]:
            yield Param(param["name"], param["valueCurrent"])
        for other in self._read("log-other")["values"]:
            yield Tag(other["name"], str(other["valueCurrent"]))
        for metric in self._read("metrics/summary")["values"]:
            for point in self._points(metric["name"]):
                value, time = number(point["metricValue"]), int(point["timestamp"]) * 1_000_000
                yield from_comet(Metric(metric["name"], value, point.get("step"), time))
        for asset in self._read("asset/list")["assets"]:
            answer = self._read_raw("asset/get-asset", assetId=asset["assetId"])
            path = folder / asset["assetId"]
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(answer.content)
            kind = "image" if asset.get("image") else kind_of(asset.get("type"))
            path = own_histogram(path) if kind == "histogram" else path
            yield Artifact(asset["fileName"], path, kind, None, asset.get("step"))

    def ask(self, what: str, **query: Any) -> Any:
        """Ask for what is not of one experiment, such as `experiments`; gives the JSON.

        Args:
            what: The place below `api/rest/v2/`.
            query: What is asked for.
        """
        return self._request("GET", f"api/rest/v2/{what}", params=query).json()

    def ask_of_run(self, what: str) -> Any:
        """Ask for something of the experiment, such as `tags`; None where there is no such.

        Args:
            what: The place below `experiment/`.
        """
        answer = self._read_raw(what, allow=(400, 404))
        return answer.json() if answer.ok else None

    def points(self, name: str) -> list[dict[str, Any]]:
        """Give the points of a metric, as the server has them."""
        return self._points(name)

    def download(self, asset_id: str, path: Path) -> bool:
        """Download a file of the experiment; tell whether it is there.

        Args:
            asset_id: Its id.
            path: Where it goes.
        """
        query = {"experimentKey": self._key, "assetId": asset_id}
        place, allow = "api/rest/v2/experiment/asset/get-asset", (400, 403, 404)
        with self._request("GET", place, params=query, allow=allow, stream=True) as answer:
            if not answer.ok:
                return False
            with path.open("wb") as file:
                for part in answer.iter_content(1 << 20):
                    file.write(part)
        return True

    def delete(self) -> None:
        """Delete the experiment."""
        query = {"experimentKey": self._key}
        self._request("GET", "api/rest/v2/write/experiment/delete", params=query, allow=(404,))

    def check(self) -> None:
        """Ask who the key belongs to, to see that server and key are right."""
        self._request("GET", "api/rest/v2/account-details")

    def _missing(self, metrics: list[Message], others: Counter[Identity]) -> list[Message]:
        """Leave out the points that the server has; each of it counts for one."""
        there: Counter[Identity] = Counter()
        for name in {metric["metric"]["metricName"] for metric in metrics}:
            points = self._points(name)
            there.update(metric_identity(point, point["timestamp"]) for point in points)
        there.subtract(others)
        missing = []
        for metric in metrics:
            identity = metric_identity(metric["metric"], metric["local_timestamp"])
            if there[identity] > 0:
                there[identity] -= 1
            else:
                missing.append(metric)
        return missing

    def _points(self, name: str) -> list[dict[str, Any]]:
        answer = self._read_raw("metrics/get-metric", allow=(404,), metricName=name)
        found = answer.json().get("metrics", []) if answer.status_code == 200 else []
        return [{**point, "metricName": name} for point in found]

    def _send_batch(self, kind: str, values: list[dict[str, Any]]) -> None:
        for first in range(0, len(values), _LARGEST):
            content = {"experimentKey": self._key, "values": values[first : first + _LARGEST]}
            self._request(
                "POST",
                f"clientlib/batch/logger/experiment/{kind}",
                data=gzip.compress(json.dumps(content).encode()),
                headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
            )

    def _send_output(self, payloads: list[dict[str, Any]]) -> None:
        """Send what the code has printed, as the SDK itself has seen it."""
        lines = [
            {
                "stderr": payload["stderr"],
                "output": payload["output"],
                "localTimestamp": payload["local_timestamp"],
                "offset": payload["message_id"],
            }
            for payload in payloads
        ]
        for first in range(0, len(lines), _LARGEST):
            self._write("output", outputLines=lines[first : first + _LARGEST], runContext=None)

    def _upload(self, payload: Mapping[str, Any], path: Path) -> None:
        options = {**(payload.get("additional_params") or {}), "runId": self._facts["run_id"]}
        options |= {"experimentId": self._key, "projectId": self._facts.get("project_id")}
        sent = {name: value for name, value in options.items() if value is not None}
        is_image = payload["upload_type"] in ("visualization", "shap", "prophet")
        place = "visualizations/upload" if is_image else "asset/upload"
        try:
            file = path.open("rb")
        except FileNotFoundError:  # the process was killed before the SDK had copied it
            return
        with file:
            self._request("POST", f"clientlib/{place}", params=sent, files={"file": file})

    def _write(self, what: str, **content: Any) -> None:
        content["experimentKey"] = self._key
        self._request("POST", f"api/rest/v2/write/experiment/{what}", json=content)

    def _read(self, what: str) -> Any:
        return self._read_raw(what).json()

    def _read_raw(self, what: str, allow: tuple[int, ...] = (), **query: str) -> Response:
        query["experimentKey"] = self._key
        return self._request("GET", f"api/rest/v2/experiment/{what}", params=query, allow=allow)

    def _request(
        self, method: str, path: str, *, allow: tuple[int, ...] = (), **options: Any
    ) -> Response:
        import requests

        # Several requests make a hook: none may take all of the time that there is for it.
        timeout = max(1.0, self._deadline / 2)
        try:
            answer = self._session.request(method, f"{self.url}/{path}", timeout=timeout, **options)
        except requests.RequestException as error:
            raise RetryLater(f"{self.url} cannot be reached: {error}") from error
        if answer.status_code in allow or (answer.ok and method == "GET"):  # which may be a page
            return answer
        said = classify_answer(answer.status_code, answer.headers, answer.content)
        if said.verdict != "taken":
            raise said.error(f"{self.url}/{path}")
        return answer


def page_of(url: str, workspace: str | None, project: str, key: str) -> str | None:
    """Give the address of an experiment before the server has told it; needs the workspace.

    Args:
        url: The server's address.
        workspace: The workspace's name, or None where it is not known.
        project: The project's.
        key: The experiment's key.
    """
    return f"{url}/{quote(workspace)}/{quote(project, safe='')}/{key}" if workspace else None


def _new_session(api_key: str) -> Session:
    import requests

    session = requests.Session()
    session.headers["Authorization"] = api_key
    return session


def _metric_value(payload: Message) -> dict[str, Any]:
    context = payload.get("context")
    return {**payload["metric"], "context": context, "timestamp": payload["local_timestamp"]}


def _param_value(payload: Message) -> dict[str, Any]:
    param = payload.get("param") or payload["params"]
    return {
        "parameterName": param["paramName"],
        "parameterValue": param["paramValue"],
        "step": param.get("step"),
        "source": param.get("source"),
        "context": payload.get("context"),
        "timestamp": payload["local_timestamp"],
    }
