"""What does the flavor ask of a W&B server itself: is it there, and what is the run's place?

One request starts a run, so that its page is there from the first moment; W&B's own SDK uploads
all the rest.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from trackyard.contract import CredentialRefused, RetryLater, Run, RunDeleted, classify_answer
from trackyard_wandb.places import Place

# Seconds for the answer to `mode = "auto"`.
PROBE = 1.0
_UPSERT = """
mutation UpsertBucket($name: String!, $project: String, $entity: String, $groupName: String,
    $displayName: String, $jobType: String, $tags: [String!], $config: JSONString,
    $sweep: String) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity,
      groupName: $groupName, displayName: $displayName, jobType: $jobType, tags: $tags,
      config: $config, sweep: $sweep}) {
    bucket { id name project { name entity { name } } }
    inserted
  }
}
"""
_FIND = """
query Run($name: String!, $project: String!, $entity: String) {
  project(name: $project, entityName: $entity) { run(name: $name) { id } }
}
"""
_READ = """
query Run($name: String!, $project: String!, $entity: String, $after: String) {
  project(name: $project, entityName: $entity) { run(name: $name) {
    summaryMetrics
    files(first: 100, after: $after) {
      edges { node { name url } }
      pageInfo { hasNextPage endCursor }
    }
  } }
}
"""
_DELETE = """
mutation DeleteRun($id: ID!) { deleteRun(input: {id: $id}) { clientMutationId } }
"""
_VIEWER = "query Viewer { viewer { entity username } }"

# What W&B says of the id of a run that was deleted, which it takes never again.
_DELETED = "previously created and deleted"


class WandbServer:
    """A W&B server.

    Args:
        url: Its address, without a path.
        api_key: The user's key; None asks as nobody.
        timeout: Seconds that an answer may take.
    """

    def __init__(self, url: str, api_key: str | None, timeout: float) -> None:
        self._url = url
        self._api_key = api_key
        self._timeout = timeout

    def is_there(self) -> bool:
        """Tell whether it answers in time; a refusal is an answer, too."""
        try:
            self._ask(_VIEWER)
        except (CredentialRefused, ValueError):
            return True
        except RetryLater:
            return False
        return True

    def knows_key(self) -> bool:
        """Tell whether the server knows whose the key is.

        Raises:
            RetryLater: The server does not answer.
            ValueError: It refuses.
        """
        return bool(self._ask(_VIEWER).get("viewer"))

    def start(self, run: Run, place: Place) -> dict[str, str]:
        """Create a run, or find it; give the names of its entity and project.

        Args:
            run: The run.
            place: Its names in W&B.

        Raises:
            RetryLater: The server cannot be reached now.
            ValueError: It refuses.
        """
        said = {key.removeprefix("trackyard."): text for key, text in run.identity_tags.items()}
        variables = {
            "name": place.id,
            "project": place.project,
            "entity": place.entity,
            "groupName": place.group,
            "displayName": place.name,
            "jobType": place.job_type,
            "tags": list(place.tags),
            "sweep": place.sweep,
            "config": json.dumps({"trackyard": {"value": said}}),
        }
        answer = self._ask(_UPSERT, variables)
        try:
            project = answer["upsertBucket"]["bucket"]["project"]
            return {"project": str(project["name"]), "entity": str(project["entity"]["name"])}
        except (KeyError, TypeError) as error:
            raise ValueError(f"{self._url} answers otherwise than W&B does") from error

    def delete(self, place: Place) -> None:
        """Delete a run; one that is not there is no error.

        Raises:
            RetryLater: The server cannot be reached now.
            ValueError: It refuses.
        """
        names = {"name": place.id, "project": place.project, "entity": place.entity}
        project = self._ask(_FIND, names).get("project") or {}
        if found := project.get("run"):
            self._ask(_DELETE, {"id": found["id"]})

    def read(self, place: Place, folder: Path) -> dict[str, Any]:
        """Download a run's files, and give the last values of its history.

        Args:
            place: The run.
            folder: Where the files go, each under its name.

        Raises:
            RetryLater: The server cannot be reached now.
            ValueError: It refuses, or has no such run.
        """
        names = {"name": place.id, "project": place.project, "entity": place.entity}
        after = None
        while True:
            project = self._ask(_READ, {**names, "after": after}).get("project") or {}
            found = project.get("run")
            if not found:
                raise ValueError(f"{self._url} has no run {place.id}")
            for edge in found["files"]["edges"]:
                target = folder / edge["node"]["name"]
                if target.resolve().is_relative_to(folder.resolve()):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(self._answer(edge["node"]["url"]))
            page = found["files"]["pageInfo"]
            if not page["hasNextPage"]:
                return dict(json.loads(found["summaryMetrics"] or "{}"))
            after = page["endCursor"]

    def _ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        try:
            content = json.loads(self._answer(f"{self._url}/graphql", body))
        except json.JSONDecodeError as error:
            raise RetryLater(f"{self._url} does not answer: {error}") from error
        if not isinstance(content, dict) or content.get("errors"):
            raise _refused(f"{self._url} refuses: {_message(content)}")
        return dict(content.get("data") or {})

    def _answer(self, url: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(url, body, headers)  # noqa: S310
        if self._api_key:  # another host, to which the server leads on, does not get it
            shown = base64.b64encode(f"api:{self._api_key}".encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {shown}")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:  # noqa: S310
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(self._url, error) from error
        except (OSError, http.client.HTTPException) as error:
            raise RetryLater(f"{self._url} does not answer: {error}") from error


def problems_of(url: str, api_key: str | None) -> list[str]:
    """Name what keeps runs from a server, in a line each.

    Args:
        url: The server's address.
        api_key: The key, or None where there is none.
    """
    if api_key is None:
        return ["no API key; set `api_key`, or type: wandb login"]
    try:
        is_known = WandbServer(url, api_key, 5.0).knows_key()
    except (RetryLater, ValueError) as error:
        return [str(error)]
    return [] if is_known else [f"{url} does not know the API key"]


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    """Give what a status says: wait, or that it will never do."""
    text = f"{url} answers"
    said = classify_answer(error.code, dict(error.headers), error.read())
    if said.verdict == "credential":
        text = f"{url} does not let the API key in; check it, or type: wandb login"
    told = said.error(text)
    return RunDeleted(str(told)) if _DELETED in str(told) else told


def _refused(text: str) -> Exception:
    """Give what a refusal means."""
    return RunDeleted(text) if _DELETED in text else ValueError(text)


def _message(content: Any) -> str:
    try:
        return str(content["errors"][0]["message"])
    except (KeyError, TypeError, IndexError):
        return str(content)[:200]
