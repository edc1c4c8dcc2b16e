"""Does a plugin keep the rules for hooks that pluggy itself does not know?"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any

from trackyard.contract.errors import PluginError
from trackyard.system.suggestions import did_you_mean, listed


@cache
def hook_signatures() -> MappingProxyType[str, tuple[str, ...]]:
    """Give every hook of the contract with the names of its arguments."""
    from trackyard.contract import hookspecs

    return MappingProxyType(
        {
            name: tuple(inspect.signature(function).parameters)
            for name, function in vars(hookspecs).items()
            if name.startswith("tracker_") and inspect.isfunction(function)
        }
    )


def implemented_hooks(plugin: object) -> tuple[str, ...]:
    """Name the hooks that a plugin implements, in the order of the contract.

    It is asked of each run: a class is looked through once.
    """
    owner = _owner_of_hooks(plugin)
    return _named(plugin) if owner is None else _implemented(owner)


def _owner_of_hooks(plugin: object) -> ModuleType | type | None:
    """Give the module or class that has all of a plugin's functions; None if it has some itself."""
    if isinstance(plugin, ModuleType | type):
        return plugin
    for value in getattr(plugin, "__dict__", {}).values():
        if inspect.isfunction(value) or isinstance(value, staticmethod | classmethod):
            return None
    return type(plugin)


@cache
def _implemented(owner: ModuleType | type) -> tuple[str, ...]:
    return _named(owner)


def _named(plugin: object) -> tuple[str, ...]:
    marked = {_hook_name(name, function) for name, function in marked_functions(plugin)}
    return tuple(name for name in hook_signatures() if name in marked)


def marked_functions(plugin: object) -> Iterator[tuple[str, Any]]:
    """Give a plugin's functions that are marked with `@hookimpl`, with their names."""
    return ((name, f) for name, f in _functions(plugin) if hasattr(f, "trackyard_impl"))


def check_hooks(plugin: object, who: str) -> None:
    """Reject a plugin that pluggy would accept in silence and that would not work.

    It is asked of each run: a class that keeps the rules is looked through once.

    Args:
        plugin: A flavor class, a module or any other object.
        who: The plugin and its distribution, for the message.

    Raises:
        PluginError: It says what is wrong and what to type.
    """
    owner = _owner_of_hooks(plugin)
    if owner is None:
        _check_functions(plugin, who)
    else:
        _check_owner(owner, who)


@cache
def _check_owner(owner: ModuleType | type, who: str) -> None:
    _check_functions(owner, who)  # what it raises is not kept


def _check_functions(plugin: object, who: str) -> None:
    signatures = hook_signatures()
    for name, function in _functions(plugin):
        if name.startswith("tracker_") and not hasattr(function, "trackyard_impl"):
            raise PluginError(
                f"{who}: {name}() looks like a hook but is not marked; "
                f"write @trackyard.hookimpl above it, or give it another name"
            )
    for name, function in marked_functions(plugin):
        hook = _hook_name(name, function)
        if hook not in signatures:
            raise PluginError(
                f"{who}: {hook}() is not a hook of Trackyard"
                f"{did_you_mean(hook, signatures) or f'; hooks are {listed(signatures)}'}"
            )
        _check_kind(function, f"{who}: {name}()")
        _check_body(function, f"{who}: {name}()", hook)
        if _lacks_self(plugin, name, signatures[hook]):
            raise PluginError(f"{who}: {name}() has no self; write self as its first argument")
        _check_signature(function, f"{who}: {name}()", signatures[hook])


def _check_kind(function: Any, where: str) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PluginError(f"{where} is async, and hooks are called directly; write a plain def")
    if function.trackyard_impl.get("hookwrapper"):
        raise PluginError(
            f"{where} is a hookwrapper, which could hide what a hook raised; write wrapper=True"
        )
    if function.trackyard_impl.get("wrapper") and not inspect.isgeneratorfunction(function):
        raise PluginError(f"{where} is a wrapper without a yield; write yield where the hook runs")


def _check_body(function: Any, where: str, hook: str) -> None:
    """Reject a hook with a yield, of which nothing would run, where no iterator is wanted."""
    if function.trackyard_impl.get("wrapper") or not inspect.isgeneratorfunction(function):
        return
    if hook == "tracker_activate_run":
        raise PluginError(
            f"{where} is no context manager; write @contextlib.contextmanager below @hookimpl"
        )
    if hook not in ("tracker_read_run", "tracker_list_runs"):
        raise PluginError(f"{where} has a yield, so that nothing of it would run; remove the yield")


def _lacks_self(plugin: object, name: str, allowed: tuple[str, ...]) -> bool:
    """Say whether a method's first argument, which gets the plugin, has a hook argument's name."""
    owner = plugin if inspect.isclass(plugin) else type(plugin)
    method = inspect.getattr_static(owner, name, None)
    if not inspect.isfunction(method):  # a function of a module, a static method
        return False
    return next(iter(inspect.signature(method).parameters), None) in allowed


def _check_signature(function: Any, where: str, allowed: tuple[str, ...]) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise PluginError(
                f"{where} takes {parameter.name!r} by keyword only, which pluggy cannot pass; "
                f"remove the * before it"
            )
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise PluginError(
                f"{where} takes {parameter}, which pluggy cannot pass; "
                f"name the arguments that it needs: {', '.join(allowed) or 'none'}"
            )
        if parameter.name not in allowed:
            raise PluginError(
                f"{where} takes {parameter.name!r}, which this hook does not offer"
                f"{did_you_mean(parameter.name, allowed)}; "
                f"it offers {', '.join(allowed) or 'no argument'}"
            )


def _functions(plugin: object) -> Iterator[tuple[str, Any]]:
    """Give a plugin's functions without evaluating properties."""
    for name in dir(plugin):
        function = inspect.getattr_static(plugin, name, None)
        if isinstance(function, staticmethod | classmethod):
            function = function.__func__
        if inspect.isfunction(function):
            yield name, function


def _hook_name(name: str, function: Any) -> str:
    """Give the hook that a function implements: its own name, or what `specname=` says."""
    return str(function.trackyard_impl.get("specname") or name)
