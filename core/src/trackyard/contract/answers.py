"""What does the answer of a tracker's server say: taken, later, or never?

Only what the backend itself says of a record is a refusal. Between a flavor and its backend stand
proxies, gateways and pages to log in, and none of them knows the record: what they answer is an
outage, as is no answer at all. An outage that was taken for a refusal costs a record; a refusal
that was taken for an outage costs a few tries, since core lets the others go past.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Collection, Mapping
from typing import Any, Literal

import attrs

from trackyard.contract.errors import CredentialRefused, RetryLater, RunDeleted, TooLarge
from trackyard.system.starving import is_starved

Verdict = Literal["taken", "later", "credential", "deleted", "too large", "refused"]

_CREDENTIAL = (401, 403, 407)
# The statuses by which a backend says what is wrong with a request; the others are of its state.
_OF_THE_REQUEST = (400, 409, 411, 415, 416, 422)
# Keys under which backends put their own word for an error.
_CODES = ("error_code", "errorCode", "errorType", "code", "error")
# Errors of the system that are of one file, by its name or its kind. All others are of the disk,
# of the process or of the network, and would meet the next record as well.
_OF_ONE_FILE = (
    *(errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ, errno.EINVAL),
)

# What raises errors of its own where a server or an object store is away. Those of boto3 have the
# store's answer in another place, and none of them is on a record: a bucket, a key, a credential.
_CLIENTS = ("boto3", "botocore", "urllib3", "http", "httpx", "aiohttp", "google", "azure")


@attrs.frozen
class Answer:
    """What an answer says.

    Attributes:
        verdict: `taken`; `later` where waiting helps; `credential` where somebody has to mend it;
            `deleted` where the run is gone there; `too large` where half as much may pass;
            `refused` where the backend will never take it.
        message: What the answer says, as one line.
        after: Seconds to wait at least, where it says so.
    """

    verdict: Verdict
    message: str = ""
    after: float | None = None

    def error(self, what: str = "") -> Exception:
        """Give what a hook raises to say this.

        Args:
            what: What was asked, and of whom, which goes before the message.
        """
        text = f"{what}: {self.message}" if what else self.message
        match self.verdict:
            case "credential":
                return CredentialRefused(text, after=self.after)
            case "deleted":
                return RunDeleted(text)
            case "too large":
                return TooLarge(text)
            case "refused":
                return ValueError(text)
            case _:
                return RetryLater(text, after=self.after)


def classify_answer(
    status: int,
    headers: Mapping[str, str] | None = None,
    body: bytes | str = b"",
    *,
    deleted: Collection[str] = (),
    is_file: bool = False,
) -> Answer:
    """Say what the answer of a backend's HTTP interface means.

    | status | body | it means |
    |---|---|---|
    | 2xx | no HTML, or a file that was asked for | taken |
    | 2xx, 3xx | HTML, a redirect: a page to log in | later |
    | 401, 403, 407 | any | the credential is refused |
    | 413 | any | too large: half as much may pass |
    | any | JSON with a code that is in `deleted` | the run is deleted there |
    | 400, 409, 411, 415, 416, 422 | a JSON object: the backend itself | refused |
    | 404, 408, 425, 429, 5xx, and all others | any | later |

    Args:
        status: The status code.
        headers: The answer's headers.
        body: Its body.
        deleted: Codes of errors by which the backend says that the run is gone.
        is_file: A file was asked for, such as an artifact, which may be a page itself. One that
            comes as an attachment is a file in any case.
    """
    named = {key.lower(): value for key, value in (headers or {}).items()}
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    said = _object(text)
    message = f"{status} {_message(said, text)}".strip()
    after = seconds_to_wait(named.get("retry-after"))
    is_page = "html" in named.get("content-type", "").lower() or text.lstrip()[:1] == "<"
    if 200 <= status < 300:
        is_attached = named.get("content-disposition", "").lower().startswith("attachment")
        is_login = is_page and not (is_file or is_attached)
        return Answer("later", message) if is_login else Answer("taken")
    if status in _CREDENTIAL:
        return Answer("credential", message, after)
    if status == 413:
        return Answer("too large", message)
    if said is not None and any(said.get(key) in deleted for key in _CODES if _is_text(said, key)):
        return Answer("deleted", message)
    if status in _OF_THE_REQUEST and said is not None and not is_page:
        return Answer("refused", message)
    return Answer("later", message, after)


def classify_error(error: BaseException, *, deleted: Collection[str] = ()) -> Answer | None:
    """Say what an error means that an SDK or the system raised; None where nothing is known of it.

    The errors of requests, httpx and urllib carry the server's answer, which is classified. Errors
    of the system are outages, but for those of one file's name or kind: no connection, no time, no
    room, no memory, no thread, no file that may be opened, no right to write. So are what clients
    of object stores raise.

    Args:
        error: What was raised.
        deleted: Codes of errors by which the backend says that the run is gone.
    """
    try:
        message = f"{type(error).__name__}: {error}"
    except Exception:  # an exception whose own text raises
        return None
    if (found := _answer_in(error)) is not None:
        return classify_answer(*found, deleted=deleted)
    if is_starved(error) and not isinstance(error, RecursionError):  # that one is a value's depth
        return Answer("later", message)
    if isinstance(error, OSError):
        return None if error.errno in _OF_ONE_FILE else Answer("later", message)
    kinds = type(error).__mro__
    # The words of every client of a database for what is not in the hands of who writes (PEP 249),
    # and its general one, of a file that is damaged or no database. The others are of a value.
    is_of_database = type(error).__name__ == "DatabaseError" or any(
        kind.__name__ in ("OperationalError", "InternalError", "InterfaceError") for kind in kinds
    )
    is_of_client = any(kind.__module__.partition(".")[0] in _CLIENTS for kind in kinds)
    return Answer("later", message) if is_of_database or is_of_client else None


def seconds_to_wait(told: str | None) -> float | None:
    """Read a `Retry-After`, a number of seconds or a date; None where it says nothing of use.

    Args:
        told: The header's value, or None where there is none.
    """
    if told is None:
        return None
    try:
        seconds = float(told)
    except ValueError:
        try:
            from email.utils import parsedate_to_datetime  # 8 ms

            seconds = parsedate_to_datetime(told).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return seconds if 0 < seconds < float("inf") else None


def _answer_in(error: BaseException) -> tuple[int, Mapping[str, str], bytes | str] | None:
    """Give the answer that an error of a client carries: requests' and httpx's, or urllib's."""
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(status, int):
        return status, dict(response.headers), _body_of(response)
    code, headers = getattr(error, "code", None), getattr(error, "headers", None)
    if isinstance(error, OSError) and isinstance(code, int) and headers is not None:
        return code, dict(headers), _body_of(error)
    return None


def _body_of(response: Any) -> bytes | str:
    """Read what is left of an answer's body; one that breaks off is nothing."""
    try:
        body = response.text if hasattr(response, "text") else response.read()
    except Exception:  # a client's own, where the connection is gone or the body was read
        return b""
    return body if isinstance(body, bytes | str) else b""


def _object(text: str) -> dict[str, Any] | None:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _is_text(said: dict[str, Any], key: str) -> bool:
    return isinstance(said.get(key), str)


def _message(said: dict[str, Any] | None, text: str) -> str:
    """Give what an answer says for people, as one short line."""
    if said is not None:
        words = [said[key] for key in ("error_code", "message", "msg", "detail", "error")
                 if _is_text(said, key)]  # fmt: skip
        text = ": ".join(dict.fromkeys(words)) or text
    return " ".join(text.split())[:300]
