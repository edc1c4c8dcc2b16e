"""Which requests to a server are ill-treated, how and how long?"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Mapping
from threading import Lock
from types import MappingProxyType
from typing import Any, Literal

import attrs

_GATEWAY = b"<html><body><h1>%s</h1><hr>gateway</body></html>"


@attrs.frozen
class Fault:
    """What a client gets instead of the server's answer.

    Attributes:
        kind: `answer` with what follows, by HTTP alone; `close` without a word, `half` of the
            server's answer, `delay` of it; `refuse` connections, which ends those that stand.
        status: The answer's status.
        body: Its body.
        media_type: Its content type.
        headers: Its other headers.
        after: The server has taken the request, where nothing else is said.
        seconds: How long the answer is delayed.
    """

    kind: Literal["answer", "close", "half", "delay", "refuse"] = "answer"
    status: int = 503
    body: bytes = b""
    media_type: str = "text/html"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    after: bool = False
    seconds: float = 1.5


def _of_gateway(status: int, **more: Any) -> Fault:
    reason = http.client.responses[status].encode()
    return Fault(status=status, body=_GATEWAY % reason, **more)


# The faults that lie between a client and its server, by name.
FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        **{str(status): _of_gateway(status) for status in (401, 403, 408, 413, 500, 502, 503)},
        "404 HTML": _of_gateway(404),
        "404 JSON": Fault(
            status=404,
            body=b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}',
            media_type="application/json",
        ),
        "429": _of_gateway(429, headers={"Retry-After": "1"}),
        "504": _of_gateway(504, after=True),
        "closed before": Fault("close"),
        "closed after": Fault("close", after=True),
        "200 HTML": _of_gateway(200),
        "half an answer": Fault("half", after=True),
        "delayed": Fault("delay", after=True),
    }
)


@attrs.define
class Rule:
    """Which requests get a fault, and how long.

    Attributes:
        fault: What they get.
        where: Regular expression that is looked for in the request: a line such as
            `POST /api/runs?id=1`, unquoted, and below it the body; where the server does not
            speak HTTP, in a message's first bytes.
        after: The server takes the request first.
        times: How many requests at most, or None.
        until: Monotonic time up to which it holds.
        skip: How many requests pass before.
        is_due: Tells whether the time has come, beside all else.
        met: How many requests it has met.
    """

    fault: Fault
    where: str
    after: bool
    times: int | None = None
    until: float = float("inf")
    skip: int = 0
    is_due: Callable[[], bool] = lambda: True
    met: int = 0

    def meets(self, request: str) -> bool:
        """Tell whether a request gets the fault.

        Args:
            request: Its line and its body.
        """
        is_over = time.monotonic() >= self.until
        is_over |= self.times is not None and self.met >= self.times
        if is_over or not self.is_due() or re.search(self.where, request) is None:
            return False
        self.skip -= 1
        return self.skip < 0


class Rules:
    """What a proxy has been told to do to requests; the first rule that one meets counts."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = Lock()

    def fault(
        self,
        fault: Fault,
        where: str = "",
        *,
        after: bool | None = None,
        times: int | None = None,
        seconds: float | None = None,
        skip: int = 0,
        is_due: Callable[[], bool] = lambda: True,
    ) -> Rule:
        """Ill-treat requests from now on, until `mend`.

        Args:
            fault: What they get, such as one of `FAULTS`.
            where: Regular expression that is looked for in `METHOD /path?query` and the body below
                it; every request by default. One that names a record meets that record alone.
            after: The server takes the request first; by default as the fault has it.
            times: So many requests at most.
            seconds: For so long at most.
            skip: So many requests pass before.
            is_due: Only while this is true.
        """
        until = float("inf") if seconds is None else time.monotonic() + seconds
        is_after = fault.after if after is None else after
        rule = Rule(fault, where, is_after, times, until, skip, is_due)
        with self._lock:
            self._rules.append(rule)
        return rule

    def mend(self) -> None:
        """Pass every request on again."""
        with self._lock:
            self._rules.clear()

    def rule_for(self, request: str) -> Rule | None:
        """Give the first rule that a request meets, which counts it.

        Args:
            request: Its line and its body.
        """
        with self._lock:
            rule = next((rule for rule in self._rules if rule.meets(request)), None)
            if rule is not None:
                rule.met += 1
            return rule
