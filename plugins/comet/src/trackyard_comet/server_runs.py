"""Which runs does a Comet server hold? It is asked as Comet's own `comet_ml.API` asks it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs

from trackyard.contract import (
    Artifact,
    Context,
    CredentialRefused,
    ImportNote,
    Metric,
    Param,
    RemoteRun,
    RetryLater,
    RunQuery,
    Tag,
    TrackyardError,
)
from trackyard_comet.context import git_of
from trackyard_comet.histograms import taken_over
from trackyard_comet.importing import Piece, nanoseconds
from trackyard_comet.machine import from_comet
from trackyard_comet.messages import kind_of, number
from trackyard_comet.server import CometServer

_T = TypeVar("_T")
# Seconds that an answer may take; seconds between tries where the server asks for patience.
_DEADLINE, _PAUSES = 120.0, (1.0, 4.0, 15.0)
# So many points of a metric does Comet's SDK upload; of more the server gives a part.
_MOST_POINTS = 15_000
_OPTIMIZER = "optimizer-"
# Of Comet's own: the SDK logs its step as a param, and the name stands elsewhere.
_OWN_PARAMS, _OWN_OTHERS = {"curr_step"}, {"Name"}


@attrs.define
class ServerRuns:
    """The experiments of a project, or of all projects of a workspace.

    Attributes:
        url, key: The server.
        workspace: Whose; None for the key's own.
        project: The project; None for that of the query, else for all.
        run_id: The only experiment that is wanted, or None.
    """

    url: str
    key: str | None
    workspace: str | None
    project: str | None
    run_id: str | None = None

    def runs(self, query: RunQuery) -> Iterator[RemoteRun]:
        """List the runs; what an optimizer has made stands below one for that.

        Args:
            query: Which runs.

        Raises:
            TrackyardError: The server does not answer, refuses, or has no such project.
        """
        with closing(self._server()) as server:
            workspace = self.workspace or _patiently(lambda: _own_workspace(server))
            project = self.project or query.experiment
            if project is None:
                found = _patiently(lambda: server.ask("projects", workspaceName=workspace))
                projects = [str(item["projectName"]) for item in found.get("projects", ())]
            else:
                projects = [project]
            optimizers = set[str]()
            for name in projects:
                for item in self._experiments(server, workspace, name, query.page):
                    run = _listed(item, name)
                    if run.parent_id is not None and run.parent_id not in optimizers:
                        optimizers.add(run.parent_id)
                        yield _optimizer(run)
                    yield run

    def read(self, remote_id: str, scratch: Path) -> Iterator[Piece]:
        """Read a run that was listed.

        Args:
            remote_id: Its id.
            scratch: Where files are downloaded to.

        Raises:
            TrackyardError: The server does not answer, or has it no more.
        """
        if remote_id.startswith(_OPTIMIZER):
            yield Tag("comet.optimizer", remote_id.removeprefix(_OPTIMIZER))
            return
        with closing(self._server(remote_id)) as server:
            yield from _Reading(server, scratch).pieces(remote_id)

    def _experiments(
        self, server: CometServer, workspace: str, project: str, size: int
    ) -> Iterator[dict[str, Any]]:
        """Give what the server says of each; one that knows no pages gives all of them again."""
        query = {"workspaceName": workspace, "projectName": project, "archived": "false"}
        query |= {"size": str(size), "sortBy": "startTime", "sortOrder": "asc"}
        known, page = set[str](), 0
        while True:
            page += 1
            asked = {**query, "page": str(page)}
            found = _patiently(partial(server.ask, "experiments", **asked))
            new = [item for item in found["experiments"] if item["experimentKey"] not in known]
            known.update(item["experimentKey"] for item in new)
            yield from (i for i in new if self.run_id in (None, i["experimentKey"]))
            if not new:
                return

    def _server(self, key: str = "") -> CometServer:
        return CometServer(self.url, self.key, key, _DEADLINE)


def _own_workspace(server: CometServer) -> str:
    return str(server.ask("account-details")["defaultWorkspaceName"])


def _listed(item: dict[str, Any], project: str) -> RemoteRun:
    status: Any = "running" if item.get("running") else "finished"
    if item.get("hasCrashed"):
        status = "failed"
    optimizer = item.get("optimizationId")
    version = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()
    return RemoteRun(
        remote_id=item["experimentKey"],
        name=item.get("experimentName") or item["experimentKey"],
        experiment=item.get("projectName") or project,
        status=status,
        started_at=nanoseconds(item.get("startTimeMillis")),
        ended_at=None if status == "running" else nanoseconds(item.get("endTimeMillis")),
        parent_id=f"{_OPTIMIZER}{optimizer}" if optimizer else None,
        user=item.get("userName"),
        version=None if status == "running" else version,
    )


def _optimizer(run: RemoteRun) -> RemoteRun:
    id_ = str(run.parent_id)
    return RemoteRun(
        id_, name=id_, experiment=run.experiment, status="finished", started_at=run.started_at
    )


@attrs.define
class _Reading:
    """Reads one experiment."""

    server: CometServer
    scratch: Path
    _files: int = 0

    def pieces(self, remote_id: str) -> Iterator[Piece]:
        """Give all of it.

        Args:
            remote_id: Its key.
        """
        found = self._ask("metadata")
        if found is None:
            raise TrackyardError(f"{self.server.url} has no experiment {remote_id}")
        for param in self._values("parameters"):
            if param["name"] not in _OWN_PARAMS:
                yield Param(param["name"], param["valueCurrent"])
        for other in self._values("log-other"):
            if other["name"] not in _OWN_OTHERS:
                yield Tag(other["name"], str(other["valueCurrent"]))
        if tags := (self._ask("tags") or {}).get("tags"):
            yield Tag("comet.tags", ", ".join(map(str, tags)))
        context = _context_of(self._ask("system-details") or {}, self._ask("git/metadata") or {})
        if context != Context():
            yield context
        for metric in self._values("metrics/summary"):
            yield from self._points(metric["name"])
        yield from self._assets()
        yield from self._texts()

    def _points(self, name: str) -> Iterator[Piece]:
        points = _patiently(lambda: self.server.points(name))
        for point in points:
            at = int(point["timestamp"]) * 1_000_000
            yield from_comet(Metric(name, number(point["metricValue"]), point.get("step"), at))
        if len(points) >= _MOST_POINTS:
            yield ImportNote(
                f"{name}: Comet gives {len(points)} points, and may have had more", "changed"
            )

    def _assets(self) -> Iterator[Piece]:
        for asset in (self._ask("asset/list") or {}).get("assets", ()):
            self._files += 1
            name = str(asset.get("fileName") or asset["assetId"])
            path = self.scratch / f"{self._files}{Path(name).suffix[:20]}"
            if not _patiently(partial(self.server.download, asset["assetId"], path)):
                yield ImportNote(f"file {name}: Comet does not give it")
                continue
            kind = "image" if asset.get("image") else kind_of(asset.get("type"))
            artifact = Artifact(name, path, kind, None, asset.get("step"))
            if kind == "histogram":
                artifact = taken_over(artifact, path.with_suffix(".portable"))
            yield artifact

    def _texts(self) -> Iterator[Piece]:
        """Give what the run has printed, and the HTML beside it."""
        for what, name, kind in (("output", "console.log", "text"), ("html", "page.html", "html")):
            text = (self._ask(what) or {}).get(what)
            if text:
                path = self.scratch / name
                path.write_text(str(text), "utf-8")
                media_type: Any = {"text": "text/plain", "html": "text/html"}[kind]
                yield Artifact(name, path, "text" if kind == "text" else "html", media_type)

    def _values(self, what: str) -> list[dict[str, Any]]:
        return list((self._ask(what) or {}).get("values", ()))

    def _ask(self, what: str) -> Any:
        return _patiently(lambda: self.server.ask_of_run(what))


def _patiently(ask: Callable[[], _T]) -> _T:
    """Ask again where the server is busy.

    Raises:
        TrackyardError: It does not answer, or refuses.
    """
    for pause in (*_PAUSES, None):
        try:
            return ask()
        except RetryLater as error:
            if pause is None or isinstance(error, CredentialRefused):
                raise TrackyardError(str(error)) from error
            time.sleep(pause)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrackyardError(f"{type(error).__name__}: {error}") from error
    raise AssertionError


def _context_of(found: dict[str, Any], git: dict[str, Any]) -> Context:
    known = git_of(git.get("metadata") or git)
    command = found.get("command") or ()
    packages = (str(line).partition("==") for line in found.get("installedPackages") or ())
    return Context(
        user=found.get("user") or None,
        host=found.get("hostname") or None,
        system=found.get("os") or None,
        python=found.get("pythonVersion") or None,
        command=tuple(map(str, command)) if isinstance(command, list | tuple) else (str(command),),
        git=known,
        packages={name: version for name, _, version in packages if name and version},
        gpus=tuple(str(gpu.get("name")) for gpu in found.get("gpuStaticInfoList") or ()),
    )
