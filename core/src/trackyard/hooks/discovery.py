"""Which plugins are installed, and how is one imported?

Discovery reads the metadata of installed distributions and imports nothing. A plugin is imported
when it is used, each in its own guard: pluggy's own loader stops at the first one that is broken.
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
import os
import sys
import time
from contextlib import suppress
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import PluginError
from trackyard.hooks.known import known_flavors
from trackyard.hooks.releases import why_other_release
from trackyard.hooks.rules import check_hooks, implemented_hooks
from trackyard.system.distributions import (
    OURS,
    Damaged,
    find_entry_points,
    normal_name,
    places,
)
from trackyard.system.exits import no_exit
from trackyard.system.interruption import StepTimeoutError, let_signals_through, time_limit
from trackyard.system.suggestions import did_you_mean, listed

logger = logging.getLogger("trackyard")

FLAVORS = "trackyard.flavors"
PLUGINS = "trackyard.plugins"
ORCHESTRATORS = "trackyard.orchestrators"
MATERIALIZERS = "trackyard.materializers"
COMMANDS = "trackyard.commands"
# Seconds after which core goes on without a plugin that is merely installed, or names it as slow.
IMPORT_LIMIT, SLOW_IMPORT = 30.0, 5.0
GROUPS = (FLAVORS, PLUGINS, ORCHESTRATORS, MATERIALIZERS, COMMANDS)
_KINDS = {
    FLAVORS: "flavor",
    PLUGINS: "plugin",
    ORCHESTRATORS: "orchestrator",
    MATERIALIZERS: "materializer",
    COMMANDS: "command",
}


@attrs.frozen
class PluginInfo:
    """A plugin as its distribution's metadata declares it; nothing of it has been imported.

    Attributes:
        name: Name of the entry point: the flavor's, plugin's or orchestrator's name.
        group: The entry-point group.
        value: Where the object is, as `module:attribute`.
        distribution, version, summary: Of the distribution that declares it.
        is_blocked: Named in `TRACKYARD_DISABLE_PLUGINS`.
    """

    name: str
    group: str
    value: str
    distribution: str = ""
    version: str = ""
    summary: str = ""
    is_blocked: bool = False

    @property
    def origin(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.distribution} {self.version}".strip() or self.value


def blocked_names() -> frozenset[str]:
    """Give the names in `TRACKYARD_DISABLE_PLUGINS`, in their normal form (PEP 503)."""
    names = os.environ.get("TRACKYARD_DISABLE_PLUGINS", "").split(",")
    return frozenset(normal_name(name.strip()) for name in names if name.strip())


def check_blocked_names() -> None:
    """Warn once of names in `TRACKYARD_DISABLE_PLUGINS` that block nothing: a slip, probably."""
    if blocked := blocked_names():
        _warn_of_unknown(blocked)


@cache
def _warn_of_unknown(blocked: frozenset[str]) -> None:
    flavors = known_flavors().values()
    known = {name for flavor in flavors for name in (flavor.name, flavor.distribution)}
    if not blocked - known:
        return
    found = [info for group in GROUPS for info in find_plugins(group)]
    known |= {normal_name(name) for info in found for name in (info.name, info.distribution)}
    for name in sorted(blocked - known):
        logger.warning(
            "TRACKYARD_DISABLE_PLUGINS: no plugin or distribution %r is installed%s",
            name,
            did_you_mean(name, known),
        )


def find_plugins(group: str) -> tuple[PluginInfo, ...]:
    """List the installed plugins of an entry-point group, sorted by name, importing none."""
    blocked = blocked_names()
    found = (info for info in _installed(places())[0] if info.group == group)
    if not blocked:
        return tuple(found)
    return tuple(
        attrs.evolve(
            info,
            is_blocked=bool(blocked & {normal_name(info.name), normal_name(info.distribution)}),
        )
        for info in found
    )


def damaged_distributions() -> tuple[Damaged, ...]:
    """Give the distributions of which one cannot see whether they bring plugins."""
    return _installed(places())[1]


@lru_cache(maxsize=1)
def _installed(
    _places: tuple[tuple[str, int], ...],
) -> tuple[tuple[PluginInfo, ...], tuple[Damaged, ...]]:
    """Describe all plugins. To look at every distribution takes 10 ms for 200 of them."""
    declared, damaged = find_entry_points(OURS)
    found = {
        PluginInfo(one.name, one.group, one.value, one.distribution, one.version, one.summary)
        for one in declared
        if one.group in GROUPS
    }
    return tuple(sorted(found, key=lambda info: (info.name, info.distribution))), damaged


def load_flavor(reference: str, project: Path | None = None) -> type:
    """Import a flavor by its name or by a dotted path such as `mypkg.trackers:CsvTracker`.

    Args:
        reference: The name or the path.
        project: Folder of the project that names it; the working directory by default.

    Raises:
        PluginError: It is unknown, blocked, ambiguous or broken, or breaks a rule.
    """
    loaded: type = _load_checked(_info_of(reference, FLAVORS), project)
    return loaded


def is_safe_to_load(reference: str) -> bool:
    """Tell whether a flavor can be loaded without running code that merely lies in a project.

    What is installed was installed on purpose, and what the program has imported has run.
    """
    return ":" not in reference or reference.partition(":")[0] in sys.modules


def import_flavor(reference: str) -> Any:
    """Import what stands behind a flavor's name or dotted path, whatever rule it breaks.

    Raises:
        PluginError: It is unknown, blocked, ambiguous or broken.
    """
    return _load(_info_of(reference, FLAVORS))


def load_orchestrator(reference: str, project: Path | None = None) -> Any:
    """Import an orchestrator class by its name or by a dotted path such as `mypkg.runs:Queue`.

    Args:
        reference: The name or the path.
        project: Folder of the project that names it; the working directory by default.

    Raises:
        PluginError: It is unknown, blocked, ambiguous or broken.
    """
    return _load_checked(_info_of(reference, ORCHESTRATORS), project)


def load_command(name: str) -> Any:
    """Import a command of the command line by its name.

    Raises:
        PluginError: It is unknown, blocked, ambiguous or broken.
    """
    return _load_checked(_only_one(name, COMMANDS))


def load_materializers() -> tuple[Any, ...]:
    """Import the output formats that packages bring; one that cannot be loaded is named.

    An entry point may name an object or a class without arguments.
    """
    loaded = []
    for info in find_plugins(MATERIALIZERS):
        if info.is_blocked:
            continue
        try:
            found = load_in_time(info)
            loaded.append(found() if inspect.isclass(found) else found)
        except Exception as error:  # the class is a stranger's
            logger.warning("%s", error)
    return tuple(loaded)


def load_plugins() -> tuple[tuple[tuple[str, object], ...], tuple[str, ...]]:
    """Import the cross-cutting plugins that are installed and not blocked.

    Returns:
        Those that loaded, as pairs of name and object, and one line for each that did not: a
        plugin that is merely installed never stops the work.
    """
    loaded: dict[str, object] = {}
    problems: list[str] = []
    for info in find_plugins(PLUGINS):
        if info.is_blocked:
            continue
        try:
            _only_one(info.name, PLUGINS)
            loaded[info.name] = load_in_time(info)
        except PluginError as error:
            problems.append(str(error))
    return tuple(loaded.items()), tuple(dict.fromkeys(problems))


def inspect_plugin(info: PluginInfo) -> tuple[str, list[str]]:
    """Import a plugin and give its file and the hooks that it implements.

    Raises:
        PluginError: It is blocked or broken, or breaks a rule, another distribution declares its
            name as well, or its import does not come to an end.
    """
    if clash := why_clashing(info):
        raise PluginError(clash)
    plugin = load_in_time(info)
    if info.group == COMMANDS:
        plugin = inspect.unwrap(plugin.callback) if plugin.callback else plugin
        return plugin.__code__.co_filename if inspect.isfunction(plugin) else "", []
    owner = plugin if inspect.ismodule(plugin) or inspect.isclass(plugin) else type(plugin)
    return inspect.getsourcefile(owner) or "", list(implemented_hooks(plugin))


def load_in_time(info: PluginInfo) -> Any:
    """Import a plugin that nobody has asked for by its name: it holds nothing up.

    One that is not imported in time is not tried again in this process.

    Raises:
        PluginError: As `load_flavor` has it; or the import takes too long.
    """
    who = f"{_KINDS[info.group]} {info.name!r} from {info.origin}"
    without = f"type: export TRACKYARD_DISABLE_PLUGINS={info.distribution} to do without it"
    if info.value.partition(":")[0] in sys.modules:
        return _load_checked(info)
    begun, refusals = time.monotonic(), _refusals(info, places())
    if refusals:
        raise PluginError(refusals[0])
    try:
        with time_limit(IMPORT_LIMIT):
            loaded = _load_checked(info)
    except StepTimeoutError:
        refusals.append(
            f"{who} is not imported after {IMPORT_LIMIT:.0f} s: its module does work as it is "
            f"imported; {without}"
        )
        raise PluginError(refusals[0]) from None
    spent = time.monotonic() - begun
    if spent > SLOW_IMPORT:
        logger.warning("%s takes %.0f s to be imported; %s", who, spent, without)
    return loaded


@cache
def _refusals(_info: PluginInfo, _where: tuple[tuple[str, int], ...]) -> list[str]:
    """Give what was said of a plugin that was not imported in time, until one is (un)installed."""
    return []


def _info_of(reference: str, group: str) -> PluginInfo:
    if ":" in reference:
        return PluginInfo(reference, group, reference)
    return _only_one(reference, group)


def _only_one(name: str, group: str) -> PluginInfo:
    installed = find_plugins(group)
    named = [info for info in installed if info.name == name]
    # One that is blocked is out of the way of another; alone it is named as blocked.
    matches = [info for info in named if not info.is_blocked] or named[:1]
    kind = _KINDS[group]
    if not matches:
        names = {info.name for info in installed}
        known = known_flavors().get(name) if group == FLAVORS else None
        install = f"; type: pip install {known.distribution}" if known else ""
        hint = install or did_you_mean(name, names) or f"; installed are {listed(names)}"
        raise PluginError(f"no {kind} {name!r} is installed{hint}")
    if clash := why_clashing(matches[0]):
        raise PluginError(clash)
    return matches[0]


def why_clashing(info: PluginInfo) -> str:
    """Say that others declare a plugin's name as well, and what to type; empty if none does.

    Those that are blocked do not count. Formats of outputs have no names of their own here.

    Args:
        info: The plugin.
    """
    same = [
        other
        for other in find_plugins(info.group)
        if other.name == info.name and not other.is_blocked
    ]
    if info.is_blocked or info.group == MATERIALIZERS or len(same) < 2:
        return ""
    owners = " and ".join(other.origin for other in same)
    return (
        f"{_KINDS[info.group]} {info.name!r} is declared by {owners}; do without one of them: "
        f"type: export TRACKYARD_DISABLE_PLUGINS={same[-1].distribution}, or pip uninstall it"
    )


def _load_checked(info: PluginInfo, project: Path | None = None) -> Any:
    """Import a plugin and refuse it where it breaks a rule."""
    who = f"{_KINDS[info.group]} {info.name!r} from {info.origin}"
    if info.distribution and not info.is_blocked and (why := why_other_release(info.distribution)):
        raise PluginError(f"{who}: {why}")
    loaded = _load(info, project)
    if info.group == FLAVORS and not (inspect.isclass(loaded) and attrs.has(loaded)):
        raise PluginError(
            f"{who}: {info.value} is not a flavor class; write @trackyard.flavor above the class"
        )
    if info.group == PLUGINS and inspect.isclass(loaded):
        raise PluginError(
            f"{who}: {info.value} is a class; name an instance of it in the entry point"
        )
    if info.group == MATERIALIZERS:
        _check_materializer(loaded, who)
    if info.group == COMMANDS:
        _check_command(loaded, who)
    if info.group in (FLAVORS, PLUGINS):
        check_hooks(loaded, who)
    if info.group == FLAVORS and not implemented_hooks(loaded):
        raise PluginError(
            f"{who}: {info.value} implements no hook; write methods such as tracker_log(self, "
            f"run, batch) with @trackyard.hookimpl above them"
        )
    return loaded


def _check_command(loaded: Any, who: str) -> None:
    import click

    if not isinstance(loaded, click.Command):
        raise PluginError(f"{who}: is no command; write @click.command() above the function")


def _check_materializer(loaded: Any, who: str) -> None:
    missing = [
        name for name in ("name", "suffix", "can_save", "save", "load") if not hasattr(loaded, name)
    ]
    if missing:
        raise PluginError(f"{who}: is no materializer, it lacks {listed(missing)}")


def _load(info: PluginInfo, project: Path | None = None) -> Any:
    kind = _KINDS[info.group]
    if info.is_blocked or blocked_names() & {normal_name(info.name)}:
        raise PluginError(
            f"{kind} {info.name!r} is blocked by TRACKYARD_DISABLE_PLUGINS="
            f"{os.environ['TRACKYARD_DISABLE_PLUGINS']}; take it out of there to use it"
        )
    module_name, _, attribute = info.value.partition("[")[0].partition(":")  # without extras
    if not info.distribution:
        _find_in(project or Path.cwd(), module_name.strip(), f"{kind} {info.name!r}")
    try:
        with no_exit():
            loaded: Any = _script(module_name.strip()) or import_module(module_name.strip())
            for part in filter(None, attribute.strip().split(".")):
                loaded = _attribute(loaded, part, f"{kind} {info.name!r} from {info.origin}")
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:  # a module may call sys.exit(), or os._exit(), at its import
        let_signals_through(error)
        raise PluginError(
            f"{kind} {info.name!r} from {info.origin} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    return loaded


def _find_in(project: Path, module: str, who: str) -> None:
    """Have a user's own module found in a project's folder, after all else that is on the path.

    Raises:
        PluginError: A module of that name is another project's.
    """
    here, module = str(project), module.partition(".")[0]
    if here not in sys.path:
        sys.path.append(here)
    loaded = getattr(sys.modules.get(module), "__file__", None)
    with suppress(ImportError, ValueError):
        loaded = loaded or getattr(importlib.util.find_spec(module), "origin", None)
    if loaded is None:
        return
    file = Path(loaded)
    place = file.parent.parent if file.name == "__init__.py" else file.parent
    is_projects = any((place / name).exists() for name in ("trackyard.toml", ".trackyard"))
    if is_projects and place.resolve() != project.resolve() and (project / f"{module}.py").exists():
        raise PluginError(
            f"{who} cannot be loaded: module {module!r} is another project's, {file}; "
            f"use a process for each project"
        )


def _script(module_name: str) -> Any:
    """Give the running script where the module is its file: importing it would run it again."""
    script = sys.modules.get("__main__")
    file = getattr(script, "__file__", None)
    if file is None or module_name in sys.modules:
        return None
    spec = importlib.util.find_spec(module_name)
    origin = spec.origin if spec is not None else None
    is_script = origin is not None and Path(origin).resolve() == Path(file).resolve()
    return script if is_script else None


def _attribute(owner: Any, name: str, who: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        names = [known for known in dir(owner) if not known.startswith("_")]
        hint = did_you_mean(name, names)
        file = getattr(owner, "__file__", None) or owner
        raise PluginError(f"{who} cannot be loaded: {file} has no {name!r}{hint}") from None
