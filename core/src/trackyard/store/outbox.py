"""How does a driver go on while the store is away?

What cannot be written is kept, and written before the next thing once the store is back. It is
noted on disk meanwhile, so that recovery can do so where this process cannot. No error of the
store's leaves this file, of whatever class: a step is worth more than its row.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from trackyard.contract.errors import ConfigError, NewerFormatError, TrackyardError
from trackyard.store.databases import StoreError
from trackyard.store.rows import OutputRow, PipelineRunRow, StepRunRow
from trackyard.store.store import Store

logger = logging.getLogger("trackyard")

# By the names that they bear on disk: an output was called an artifact once.
_ROWS = {
    "ArtifactRow": OutputRow,
    "PipelineRunRow": PipelineRunRow,
    "StepRunRow": StepRunRow,
}
# What a note on disk may ask for.
_WRITES = {
    *("add_pipeline_run", "update_pipeline_run", "add_step_run", "update_step_run"),
    "end_step_run",
}
_NAMES = {row: name for name, row in _ROWS.items()}
_LEAST_REST = 1.0  # seconds until a store that was away is asked again, or thrice what it took


class Outbox:
    """Calls of a store, made in their order, now or later. One thread at a time.

    Args:
        store: The store.
        keep: Notes on disk what the store lacks, as values for JSON.
    """

    def __init__(self, store: Store, keep: Callable[[list[Any]], None]) -> None:
        self._store = store
        self._keep = keep
        self._owed: list[_Call] = []
        self._held = 0  # so many of them, the latest, have not been tried
        self._ask_at = 0.0

    @property
    def is_empty(self) -> bool:
        """Tell whether the store has everything."""
        return not self._owed

    def write(self, method: str, /, *args: Any, **named: Any) -> None:
        """Call a method of the store, at once unless it is away.

        Args:
            method: Such as `add_step_run`; on disk it bears that name.
            args: Its arguments: rows, or values for JSON.
            named: Likewise.
        """
        self._held += 1
        self._owed.append(_Call(method, args, named))
        self.release()

    def hold(self, method: str, /, *args: Any, **named: Any) -> None:
        """Keep a call for the next `write`, in one transaction with it, which is to come at once.

        Args:
            method: Such as `end_step_run`.
            args: Its arguments: rows, or values for JSON.
            named: Likewise.
        """
        self._held += 1
        self._owed.append(_Call(method, args, named))

    def release(self) -> None:
        """Write what is held, since nothing else comes at once; unless the store is away."""
        held, self._held = self._held, 0
        if not held:
            return
        if len(self._owed) == held or time.monotonic() >= self._ask_at:
            self._flush()
        else:
            self._note()

    def settle(self, seconds: float) -> bool:
        """Wait for a store that is away; True where it has everything in the end."""
        end, self._held = time.monotonic() + seconds, 0
        while self._owed and not self._flush() and time.monotonic() < end:
            time.sleep(0.2)
        return not self._owed

    def _flush(self) -> bool:
        """Write what is owed; what the store refuses for itself does not hold up the others.

        Raises:
            ConfigError, NewerFormatError: Nothing has been written yet, and nothing ever can be.
        """
        began, was_away = time.monotonic(), self._owed[0].was_tried
        left: list[_Call] = []
        problem = self._write_together() if len(self._owed) > 1 and not was_away else None
        is_tried = problem is not None
        while self._owed and not is_tried:
            call = self._owed[0]
            try:
                call.make(self._store)
            except (ConfigError, NewerFormatError):
                raise
            except Exception as error:  # whatever a database comes up with
                call.was_tried = True
                problem = problem or error
                if getattr(error, "is_away", False):
                    break
                left.append(call)
            self._owed.pop(0)
        self._owed = [*left, *self._owed]
        if problem is not None:
            self._ask_at = time.monotonic() + max(_LEAST_REST, 3 * (time.monotonic() - began))
            if not was_away:
                reason = " ".join(str(problem).split())
                logger.warning("the store is away, and gets what it lacks later: %s", reason)
        if problem is not None or was_away:
            self._note()
        return not self._owed

    def _write_together(self) -> Exception | None:
        """Write all that is owed in one transaction, and give the error of a store that is away.

        Where one call is to blame nothing is written: they are made one by one then.
        """
        try:
            with self._store.together():
                for call in self._owed:
                    call.make(self._store)
        except (ConfigError, NewerFormatError):
            raise
        except Exception as error:  # whatever a database comes up with
            if getattr(error, "is_away", False):
                self._owed[0].was_tried = True
                return error
            logger.debug("the store is written call by call: %s", error)
            return None
        self._owed = []
        return None

    def _note(self) -> None:
        self._keep([call.to_json() for call in self._owed])


def is_away(error: Exception) -> bool:
    """Tell whether a database cannot be reached or written now, and may be later."""
    return isinstance(error, StoreError) and error.is_away


def write_owed(store: Store, owed: Iterable[Any]) -> None:
    """Write what another process noted; a second time changes nothing.

    Args:
        store: The store.
        owed: What it lacks, as it was noted on disk.
    """
    for name, args, named in owed:
        if name not in _WRITES:
            raise TrackyardError(f"the store has no {name!r} that a note may ask for")
        _Call(str(name), tuple(map(_from_json, args)), dict(named), was_tried=True).make(store)


@attrs.define
class _Call:
    method: str
    args: tuple[Any, ...]
    named: dict[str, Any]
    was_tried: bool = False

    def make(self, store: Store) -> None:
        getattr(store, self.method)(*self.args, **self.named)

    def to_json(self) -> list[Any]:
        return [self.method, [to_json(value) for value in self.args], self.named]


def to_json(value: Any) -> Any:
    """Give an argument of a call as it is noted on disk."""
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if attrs.has(type(value)):
        values = attrs.asdict(value)
        if isinstance(value, OutputRow) and not value.metadata:
            del values["metadata"]  # which versions before know nothing of
        return {"row": _NAMES[type(value)], "values": values}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if isinstance(value, dict) and value.keys() == {"row", "values"}:
        return _ROWS[value["row"]](**value["values"])
    return value
