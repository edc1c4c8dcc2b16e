"""How does a driver go on while the store is away?

What cannot be written is kept, and written before the next thing once the store is back. It is
noted on disk meanwhile, so that recovery can do so where this process cannot.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec

import attrs
from sqlalchemy.exc import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    TimeoutError as PoolTimeoutError,
)

from trackyard.contract.errors import without_statement
from trackyard.store.rows import OutputRow, PipelineRunRow, StepRunRow
from trackyard.store.store import Store

_Arguments = ParamSpec("_Arguments")

logger = logging.getLogger("trackyard")

# By the names that they bear on disk: an output was called an artifact once.
_ROWS = {
    "ArtifactRow": OutputRow,
    "PipelineRunRow": PipelineRunRow,
    "StepRunRow": StepRunRow,
}
_NAMES = {row: name for name, row in _ROWS.items()}
_LEAST_REST = 1.0  # seconds until a store that was away is asked again, or thrice what it took


class Outbox:
    """Calls of a store, made in their order, now or later. One thread at a time.

    Args:
        keep: Notes on disk what the store lacks, as values for JSON.
    """

    def __init__(self, keep: Callable[[list[Any]], None]) -> None:
        self._keep = keep
        self._owed: list[_Call] = []
        self._ask_at = 0.0

    def write(
        self,
        method: Callable[_Arguments, object],
        /,
        *args: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> None:
        """Call a method of the store, at once unless it is away.

        Args:
            method: Such as `store.add_step_run`; on disk it bears that name.
            args: Its arguments: rows, or values for JSON.
            named: Likewise.
        """
        self._owed.append(_Call(method, args, named))
        if len(self._owed) == 1 or time.monotonic() >= self._ask_at:
            self._flush()
        else:
            self._note()

    def settle(self, seconds: float) -> bool:
        """Wait for a store that is away; True where it has everything in the end."""
        end = time.monotonic() + seconds
        while self._owed and not self._flush() and time.monotonic() < end:
            time.sleep(0.2)
        return not self._owed

    def _flush(self) -> bool:
        began, was_away = time.monotonic(), self._owed[0].was_tried
        try:
            while self._owed:
                self._owed[0].make()
                self._owed.pop(0)
        except SQLAlchemyError as error:
            self._owed[0].was_tried = True
            if not is_away(error):
                self._owed.pop(0)
                raise
            self._ask_at = time.monotonic() + max(_LEAST_REST, 3 * (time.monotonic() - began))
            if not was_away:
                reason = " ".join(without_statement(str(error)).split())
                logger.warning("the store is away, and gets what it lacks later: %s", reason)
            self._note()
            return False
        if was_away:
            self._note()
        return True

    def _note(self) -> None:
        self._keep([call.to_json() for call in self._owed])


def is_away(error: Exception) -> bool:
    """Tell whether a database cannot be reached or written now, and may be later."""
    kinds = (OperationalError, InterfaceError, PoolTimeoutError)
    return isinstance(error, kinds) or bool(getattr(error, "connection_invalidated", False))


def write_owed(store: Store, owed: Iterable[Any]) -> None:
    """Write what another process noted; a second time changes nothing.

    Args:
        store: The store.
        owed: What it lacks, as it was noted on disk.
    """
    for name, args, named in owed:
        method = getattr(store, str(name))
        _Call(method, tuple(map(_from_json, args)), dict(named), was_tried=True).make()


@attrs.define
class _Call:
    method: Callable[..., object]
    args: tuple[Any, ...]
    named: dict[str, Any]
    was_tried: bool = False

    def make(self) -> None:
        try:
            self.method(*self.args, **self.named)
        except IntegrityError:
            if not self.was_tried:
                raise
            # It was done, and the answer was lost.

    def to_json(self) -> list[Any]:
        return [self.method.__name__, [to_json(value) for value in self.args], self.named]


def to_json(value: Any) -> Any:
    """Give an argument of a call as it is noted on disk."""
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if attrs.has(type(value)):
        return {"row": _NAMES[type(value)], "values": attrs.asdict(value)}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if isinstance(value, dict) and value.keys() == {"row", "values"}:
        return _ROWS[value["row"]](**value["values"])
    return value
