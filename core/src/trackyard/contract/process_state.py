"""How does a tracker set something process-wide for a while and give it back as it was?

SDKs read environment variables and module globals, and steps overlap. A value that two runs want
alike is shared and restored by the last of them; a value that another run holds differently is
refused, so that one tracker's token never reaches another one's server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Final

import attrs

from trackyard.contract.errors import RetryLater
from trackyard.system.conditions import Condition


class ProcessValueTakenError(RetryLater):
    """Another run in this process needs another value at this moment."""


class _Keep:
    """Stands for the value that was there before any tracker came."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP: Final = _Keep()
_ABSENT: Final = object()


@attrs.define
class _Held:
    value: Any
    original: Any
    threads: list[int]  # of the blocks that hold it
    is_set: bool = False  # else it is claimed alone


# One per process, like the values that it keeps account of.
_held: dict[tuple[int, str], tuple[Any, _Held]] = {}
_changed = Condition()


@contextmanager
def process_values(
    environment: Mapping[str, str | _Keep | None] | None = None,
    attributes: Sequence[tuple[object, str, Any]] = (),
    patience: float = 0.0,
    claimed: Mapping[str, str | _Keep | None] | None = None,
) -> Iterator[None]:
    """Hold environment variables and attributes of modules at given values inside a block.

    Afterwards each has its original value again, unless someone else has changed it meanwhile.

    Args:
        environment: Values by variable; None unsets one, `KEEP` is the user's own value.
        attributes: Triples of object, attribute name and value.
        patience: Seconds to wait at most for other blocks to end. Those of the same thread, as
            of an event loop's tasks, end no sooner for it: they are not waited for.
        claimed: Environment variables that others may not hold at other values meanwhile, and that
            are not set: the SDK is told the values in another way, such as by `attributes`. A loop
            over `os.environ` in another thread raises where a variable comes or goes.

    Raises:
        ProcessValueTakenError: Another block holds one of them at another value.
    """
    wanted: list[tuple[Any, str, Any]] = [
        (os.environ, name, _ABSENT if value is None else value)
        for name, value in (environment or {}).items()
    ]
    wanted += attributes
    claims = [(os.environ, n, _ABSENT if v is None else v) for n, v in (claimed or {}).items()]
    wanted += claims
    taken: list[tuple[int, str]] = []
    thread = get_ident()
    try:
        with _changed:
            if _is_in_vain(wanted):
                patience = 0.0
            if not _changed.wait_for(lambda: _first_taken(wanted) is None, patience):
                raise ProcessValueTakenError(
                    f"{_first_taken(wanted)} is held at another value by an overlapping run"
                )
            for number, (owner, name, value) in enumerate(wanted):
                _take(owner, name, value, thread, is_set=number < len(wanted) - len(claims))
                taken.append((id(owner), name))
        yield
    finally:
        with _changed:
            for slot in reversed(taken):
                _give_back(slot, thread)
            _changed.notify_all()


def _is_in_vain(wanted: list[tuple[Any, str, Any]]) -> bool:
    """Tell whether a value is held differently by blocks of this thread, which it cannot leave."""
    me = get_ident()
    return any(me in _held[id(owner), name][1].threads for owner, name, _ in _differing(wanted))


def _first_taken(wanted: list[tuple[Any, str, Any]]) -> str | None:
    """Name the first of these values that another block holds differently."""
    return next((name for _, name, _ in _differing(wanted)), None)


def _differing(wanted: list[tuple[Any, str, Any]]) -> Iterator[tuple[Any, str, Any]]:
    for owner, name, value in wanted:
        if (id(owner), name) in _held:
            held = _held[id(owner), name][1]
            if (held.original if value is KEEP else value) != held.value:
                yield owner, name, value


def own_environment() -> dict[str, str]:
    """Give the environment as it is without what trackers hold there at this moment.

    A process that serves one tracker must not see another one's token.
    """
    with _changed:
        environment = dict(os.environ)
        for (_, name), (owner, held) in _held.items():
            if owner is os.environ and environment.get(name) == held.value:
                del environment[name]
                if held.original is not _ABSENT:
                    environment[name] = held.original
    return environment


def _take(owner: Any, name: str, value: Any, thread: int, *, is_set: bool) -> None:
    slot = (id(owner), name)
    original = _read(owner, name)
    new = owner, _Held(original if value is KEEP else value, original, [])
    held = _held.get(slot, new)[1]
    if is_set and not held.is_set:
        _write(owner, name, held.value)  # what it raises leaves nothing behind
        held.original, held.is_set = original, True
    held.threads.append(thread)
    _held.setdefault(slot, new)


def _give_back(slot: tuple[int, str], thread: int) -> None:
    owner, held = _held[slot]
    held.threads.remove(thread)
    if held.threads:
        return
    del _held[slot]
    if held.is_set and _read(owner, slot[1]) == held.value:
        _write(owner, slot[1], held.original)


def _read(owner: Any, name: str) -> Any:
    return owner.get(name, _ABSENT) if owner is os.environ else getattr(owner, name, _ABSENT)


def _write(owner: Any, name: str, value: Any) -> None:
    if owner is os.environ:
        if value is _ABSENT:
            owner.pop(name, None)
        else:
            owner[name] = value
    elif value is _ABSENT:
        if hasattr(owner, name):
            delattr(owner, name)
    else:
        setattr(owner, name, value)
