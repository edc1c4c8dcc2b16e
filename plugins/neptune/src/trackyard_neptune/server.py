"""How is a run sent to a server of Neptune's kind, and read from it?

By the backend of Neptune's SDK, which finds out from the server where it takes what. Left alone, it
waits for minutes, and for a server that says nothing for ever: here it has seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from trackyard.contract import (
    CredentialRefused,
    Record,
    RetryLater,
    RunDeleted,
    classify_answer,
    is_true_within,
    process_values,
)
from trackyard_neptune.operations import Operation, records_of
from trackyard_neptune.quieting import quiet
from trackyard_neptune.settings import server_url
from trackyard_neptune.transport import insecure_transport, without_tls

# Seconds for one request, and for all tries of one.
_REQUEST, _TRIES = 4.0, 1
# Seconds that the server may take to say that it is there.
PROBE = 1.0
# Most operations in one request, and points that are read at once.
_LARGEST, _PAGE = 500, 1000
_TYPES = {
    "float": "AssignFloat",
    "int": "AssignInt",
    "bool": "AssignBool",
    "string": "AssignString",
}


def is_reachable(url: str) -> bool:
    """Tell whether a server answers within a second, and is one of Neptune's."""
    import requests  # not part of the second

    def answers() -> bool:
        answer = requests.get(f"{url}/api/backend/swagger.json", timeout=PROBE, stream=True)
        with answer:
            return bool(answer.ok)

    return is_true_within(PROBE, answers)


class NeptuneServer:
    """A server, for one run.

    Args:
        token: The user's API token, which names the server.
        project: `workspace/project`.
        run_id: The run's id.
        facts: What the start gave before, where it was kept.

    Raises:
        ValueError: There is no token, or no project.
    """

    def __init__(
        self, token: str | None, project: str | None, run_id: str, facts: Mapping[str, Any]
    ) -> None:
        if not token:
            raise ValueError("Neptune needs an API token; set `api_token`, or NEPTUNE_API_TOKEN")
        if not project or project.count("/") != 1:
            raise ValueError('Neptune needs a project; set `project`, as in "workspace/name"')
        self._token = token
        self._url = server_url(token)
        self._project = project
        self._run_id = run_id
        self._container = facts.get("container")
        self._has_answered = False

    def start(self) -> dict[str, Any]:
        """Find the run or create it; gives what is to be kept of the answer.

        Raises:
            RunDeleted: It was there, and is not any more.
        """
        with self._backend() as backend:
            project = backend.get_project(self._project)
            found = (
                self._known(backend)
                or self._find(backend, project.id)
                or backend.create_run(project_id=project.id, custom_run_id=self._run_id)
            )
            url = backend.get_run_url(found.id, found.workspace, found.project_name, found.sys_id)
            self._container = str(found.id)
            return {"container": self._container, "url": url, "sys_id": str(found.sys_id)}

    def send(self, operations: Sequence[Operation], folder: Path) -> list[tuple[Operation, str]]:
        """Send operations; a point that the server has already it refuses, as it should.

        Args:
            operations: The operations, in their order.
            folder: Where files are that belong to them.

        Returns:
            Those that the server refuses, and what it says.
        """
        refused: list[tuple[Operation, str]] = []
        if not operations:
            return refused
        with self._backend() as backend:
            for first in range(0, len(operations), _LARGEST):
                refused += self._send(backend, operations[first : first + _LARGEST], folder)
            with suppress(Exception):  # it shows that the run lives; a server may not know it
                backend.ping(self._container, _run_type())
        return refused

    def read(self, folder: Path) -> Iterator[Record]:
        """Read the run back; files are downloaded to a folder. One in the trash is deleted."""
        with self._backend() as backend:
            known = self._known(backend)
            if known is not None and known.trashed:
                raise RunDeleted(f"run {known.sys_id} is in the trash of {self._project}")
            yield from records_of(list(self._operations(backend, folder)))

    def delete(self) -> None:
        """Put the run into the project's trash, as Neptune's own page does."""
        with self._backend() as backend:
            project = backend.get_project(self._project)
            found = self._find(backend, project.id)
            if found is not None:
                from neptune.internal.backends.hosted_client import DEFAULT_REQUEST_KWARGS

                backend.leaderboard_client.api.trashExperiments(
                    projectIdentifier=self._project,
                    experimentIdentifiers=[f"{self._project}/{found.sys_id}"],
                    **DEFAULT_REQUEST_KWARGS,
                ).response()

    def check(self) -> None:
        """Ask for the project, to see that server, token and project are right."""
        with self._backend() as backend:
            backend.get_project(self._project)

    def _known(self, backend: Any) -> Any:
        """Give the run that was found or created before; None where there was none."""
        if not self._container:
            return None
        return backend.get_metadata_container(self._container, _run_type())

    def _find(self, backend: Any, project_id: str) -> Any:
        """Find the run by its field: Neptune's own `neptune sync` forgets the id."""
        from neptune.internal.backends import nql

        query = nql.NQLQueryAttribute(
            name="trackyard/run_id",
            type=nql.NQLAttributeType.STRING,
            operator=nql.NQLAttributeOperator.EQUALS,
            value=self._run_id,
        )
        found = backend.search_leaderboard_entries(
            project_id=project_id, types=[_run_type()], query=query, limit=1, sort_by="sys/id"
        )
        for entry in found:
            return backend.get_metadata_container(entry.id, _run_type())
        return None

    def _send(
        self, backend: Any, operations: Sequence[Operation], folder: Path
    ) -> list[tuple[Operation, str]]:
        """Send operations, and halve them until each that is refused is alone.

        The server says why, and not which one it was; what it has it takes twice without harm.
        """
        from neptune.core.components.operation_storage import OperationStorage
        from neptune.exceptions import ClientHttpError
        from neptune.internal.operation import Operation as SdkOperation

        left = [SdkOperation.from_dict(_nudged(operation)) for operation in operations]
        texts: list[str] = []
        try:
            while left:
                count, errors = backend.execute_operations(
                    container_id=self._container,
                    container_type=_run_type(),
                    operations=left,
                    operation_storage=OperationStorage(folder),
                )
                texts += filter(_is_loss, map(_plain, errors))
                left = left[max(count, 1) :]
        except ClientHttpError as error:
            if classify_answer(error.status, body=str(error.response)).verdict != "refused":
                raise
            texts.append(_plain(error))
        if not texts:
            return []
        if len(operations) == 1:
            return [(operations[0], texts[0])]
        middle = len(operations) // 2
        first = self._send(backend, operations[:middle], folder)
        return first + self._send(backend, operations[middle:], folder)

    def _operations(self, backend: Any, folder: Path) -> Iterator[Operation]:
        """Read every field as the operation that has made it."""
        container, kind = self._container, _run_type()
        for name, type_, value in backend.fetch_atom_attribute_values(container, kind, []):
            path, what = name.split("/"), getattr(type_, "value", type_)
            if what in _TYPES:
                yield {"type": _TYPES[what], "path": path, "value": value}
            elif what == "floatSeries":
                yield {"type": "LogFloats", "path": path, "values": self._series(backend, path)}
            elif what == "file":
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                backend.download_file(container, kind, path, str(target), progress_bar=False)
                yield {"type": "UploadFile", "path": path, "file_path": str(target)}

    def _series(self, backend: Any, path: list[str]) -> list[dict[str, Any]]:
        points: list[dict[str, Any]] = []
        while True:
            page = backend.get_float_series_values(
                self._container, _run_type(), path, offset=len(points), limit=_PAGE
            )
            points += [
                {"value": p.value, "step": p.step, "ts": p.timestampMillis / 1000}
                for p in page.values
            ]
            if len(points) >= page.totalItemCount or not page.values:
                return points

    @contextmanager
    def _backend(self) -> Iterator[Any]:
        """Have the SDK's backend inside a block, impatient and quiet."""
        if not self._has_answered and not is_reachable(self._url):
            raise RetryLater(f"{self._url} does not answer within a second")
        with ExitStack() as held:
            held.enter_context(_impatient(self._url))
            try:
                from neptune.internal.backends.hosted_neptune_backend import HostedNeptuneBackend
                from neptune.internal.credentials import Credentials

                yield HostedNeptuneBackend(Credentials.from_token(self._token))
                self._has_answered = True
            except Exception as error:
                self._has_answered = False
                _raise(error)


def _raise(error: Exception) -> NoReturn:
    """Tell what waiting may help from what it does not."""
    from neptune.common.exceptions import NeptuneException
    from neptune.exceptions import (
        ClientHttpError,
        Forbidden,
        MetadataContainerNotFound,
        NeptuneConnectionLostException,
        NeptuneInvalidApiTokenException,
        ProjectNotFound,
        Unauthorized,
    )
    from neptune.management.exceptions import ObjectNotFound

    if isinstance(error, RetryLater):
        raise error
    is_gone = isinstance(error, ObjectNotFound | MetadataContainerNotFound)
    if is_gone and not isinstance(error, ProjectNotFound):
        raise RunDeleted(f"Neptune has the run no more: {_plain(error)}") from error
    if isinstance(error, (NeptuneInvalidApiTokenException, Unauthorized, Forbidden)):
        raise CredentialRefused(f"Neptune: {_plain(error)}") from error
    if isinstance(error, ClientHttpError):
        raise classify_answer(error.status, body=str(error.response)).error("Neptune") from error
    if not isinstance(error, NeptuneException) or isinstance(error, NeptuneConnectionLostException):
        cause = error.__cause__ or error
        raise RetryLater(f"Neptune: {type(cause).__name__}: {_plain(cause)}") from error
    raise ValueError(_plain(error)) from error


def _plain(error: BaseException) -> str:
    """Say in one line what the SDK says in many, with colours."""
    text = re.sub(r"\x1b\[[0-9;]*m|-{2,}", " ", str(error).partition("Need help?")[0])
    return " ".join(text.split())[:400]


def _is_loss(text: str) -> bool:
    """Tell whether the server refuses something else than a point that came twice."""
    return "strictly increasing" not in text


def _run_type() -> Any:
    from neptune.internal.container_type import ContainerType

    return ContainerType.RUN


@contextmanager
def _impatient(url: str) -> Iterator[None]:
    """Let the SDK try for seconds only, and say nothing."""
    from neptune.common.backends import utils
    from neptune.internal.backends import hosted_client

    attributes: list[tuple[object, str, Any]] = [
        (utils, "retries_timeout", _TRIES),
        (utils, "get_retry_from_headers_or_default", _retry_after),
    ]
    original = vars(hosted_client).get("_trackyard_client", hosted_client.create_http_client)
    attributes += [
        (hosted_client, "_trackyard_client", original),
        (hosted_client, "create_http_client", _client),
    ]
    options = hosted_client.DEFAULT_REQUEST_KWARGS["_request_options"]
    attributes += insecure_transport()
    with process_values({}, attributes, patience=1.0), quiet(), without_tls(url):
        options.update(timeout=_REQUEST, connect_timeout=_REQUEST)
        yield


def _retry_after(headers: Mapping[str, str], _: int) -> NoReturn:
    """Leave the waiting to core where the server asks for it."""
    value = headers.get("Retry-After") or headers.get("retry-after-seconds")
    after = float(value) if value and value.isdigit() else None
    raise RetryLater("Neptune's server asks to wait (429)", after=after)


def _nudged(operation: Operation) -> Operation:
    """Keep whole milliseconds: the SDK cuts the product of seconds and 1000 to a whole number."""
    if operation["type"] != "LogFloats":
        return operation
    values = [{**v, "ts": math.nextafter(v["ts"], math.inf)} for v in operation["values"]]
    return {**operation, "values": values}


def _client(*arguments: Any, **options: Any) -> Any:
    """Make the SDK's HTTP client, with a time-out where the SDK sets none."""
    from neptune.internal.backends import hosted_client
    from requests.adapters import HTTPAdapter

    class Impatient(HTTPAdapter):  # type: ignore[misc]  # it is Any here
        def send(self, request: Any, **options: Any) -> Any:
            options["timeout"] = options.get("timeout") or _REQUEST
            return super().send(request, **options)

    client = vars(hosted_client)["_trackyard_client"](*arguments, **options)
    for scheme in ("http://", "https://"):
        client.session.mount(scheme, Impatient())
    return client
