"""How is a tracker's plugin manager made once in a process, for all of its runs?

pluggy looks through every hook and plugin when it is given one, which takes longer than a step's
calls. So a manager is made for a flavor's class. It holds a stand-in for the class, each hook of
which is the one of the instance that is called at the moment, in the thread that calls it: runs
share no instance, as before.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import attrs
import pluggy

from trackyard.contract import hookspecs
from trackyard.hooks.guards import guarded
from trackyard.hooks.rules import marked_functions

NamedPlugins = Sequence[tuple[str, object]]

# The instance whose hook is called, in each thread.
_called: ContextVar[object] = ContextVar("trackyard_called_tracker")


class TrackerManager:
    """The plugin manager of one instance of a flavor and the cross-cutting plugins.

    Args:
        tracker: The instance.
        plugins: Cross-cutting plugins by name.
    """

    def __init__(self, tracker: object, plugins: NamedPlugins) -> None:
        self._tracker = tracker
        kind: Any = type(tracker)
        if _marks(tracker) or _has_wrappers(kind):
            self._manager = _manager(tracker, plugins)
        else:
            self._manager = _shared(kind, _Named(tuple(plugins)))

    def call(self, hook: str, /, **arguments: Any) -> Any:
        """Call a hook; whatever it raises comes through.

        Args:
            hook: Its name.
            arguments: Its arguments by name.
        """
        token = _called.set(self._tracker)
        try:
            return getattr(self._manager.hook, hook)(**arguments)
        finally:
            _called.reset(token)

    def takes(self, hook: str, argument: str) -> bool:
        """Tell whether the instance or a plugin wants an argument of a hook.

        Args:
            hook: The hook's name.
            argument: The argument's.
        """
        found = getattr(self._manager.hook, hook).get_hookimpls()
        return any(argument in one.argnames for one in found)


def manager_of(plugins: NamedPlugins) -> pluggy.PluginManager:
    """Give the manager of cross-cutting plugins alone; it is made once.

    Args:
        plugins: The plugins by name.
    """
    return _of_plugins(_Named(tuple(plugins)))


@attrs.frozen
class _Named:
    """Plugins that are the same ones as others, whether or not they can be compared."""

    plugins: tuple[tuple[str, object], ...] = attrs.field(
        eq=lambda plugins: tuple((name, id(plugin)) for name, plugin in plugins)
    )


@functools.lru_cache(maxsize=64)
def _shared(kind: type, named: _Named) -> pluggy.PluginManager:
    """Give the manager of all instances of a class; it is made once."""
    stand_in = type(kind.__name__, (), {})()
    for attribute, function in marked_functions(kind):
        setattr(stand_in, attribute, _of_the_called(kind, attribute, function))
    return _manager(stand_in, named.plugins)


@functools.lru_cache(maxsize=64)
def _of_plugins(named: _Named) -> pluggy.PluginManager:
    return _manager(None, named.plugins)


def _of_the_called(kind: type, attribute: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        return getattr(_called.get(), attribute)(*arguments, **keywords)

    parameters = [*inspect.signature(function).parameters.values()]
    if not isinstance(inspect.getattr_static(kind, attribute), staticmethod):
        parameters = parameters[1:]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def _marks(tracker: object) -> bool:
    """Tell whether an instance has hooks that its class has not."""
    own = getattr(tracker, "__dict__", {}).values()
    return any(hasattr(value, "trackyard_impl") for value in own)


@functools.lru_cache(maxsize=64)
def _has_wrappers(kind: type) -> bool:
    """Tell whether a hook has to be a generator, for which nothing can stand in."""
    return any(function.trackyard_impl.get("wrapper") for _, function in marked_functions(kind))


def _manager(tracker: object | None, plugins: NamedPlugins) -> pluggy.PluginManager:
    manager = pluggy.PluginManager("trackyard")
    manager.add_hookspecs(hookspecs)
    for name, plugin in plugins:
        manager.register(guarded(plugin, name), name=name)
    if tracker is not None:
        # Registered last, hence called first, inside the wrappers of all the others.
        manager.register(tracker, name="experiment tracker")
    return manager
