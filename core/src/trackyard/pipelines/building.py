"""Which pipeline is being built in this context, so that calls of steps add to it?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Building(Protocol):
    """What calls of steps are added to, instead of being made: a `Graph`."""

    # The call whose outputs were unpacked last, for the message where their number is wrong.
    last_unpacked: Any

    def add(self, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Add a call of a step; give what stands for its result.

        Args:
            step: The step.
            args: Its arguments.
            kwargs: Likewise, by name.
        """

    def add_each(self, step: Any, items: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Add a call of a step for each of several items.

        Args:
            step: The step.
            items: Its first argument, one for each call.
            args: The other arguments, the same for each.
            kwargs: Likewise, by name.
        """


_building: ContextVar[Building | None] = ContextVar("trackyard_graph", default=None)


def graph_being_built() -> Building | None:
    """Give the graph that a pipeline function is building in this context, if any."""
    return _building.get()


@contextmanager
def building(graph: Building) -> Iterator[None]:
    """Let calls of steps in this block add to a graph."""
    token = _building.set(graph)
    try:
        yield
    finally:
        _building.reset(token)
