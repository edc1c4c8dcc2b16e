"""Which plugins are installed, and does a plugin keep the rules of the contract?

Discovery reads the metadata of installed distributions and imports nothing. A plugin is imported
when it is used, each in its own guard: pluggy's own loader stops at the first one that is broken.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.errors import PluginError
from trackyard.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger("trackyard")

FLAVORS = "trackyard.flavors"
PLUGINS = "trackyard.plugins"
ORCHESTRATORS = "trackyard.orchestrators"
MATERIALIZERS = "trackyard.materializers"
GROUPS = (FLAVORS, PLUGINS, ORCHESTRATORS, MATERIALIZERS)
_KINDS = {
    FLAVORS: "flavor",
    PLUGINS: "plugin",
    ORCHESTRATORS: "orchestrator",
    MATERIALIZERS: "materializer",
}

# What `pip install` would bring; listed where it is not installed.
KNOWN_FLAVORS = ("comet", "mlflow", "neptune", "tensorboard", "trackio", "wandb")


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
    return frozenset(_normal(name.strip()) for name in names if name.strip())


def check_blocked_names() -> None:
    """Warn once of names in `TRACKYARD_DISABLE_PLUGINS` that block nothing: a slip, probably."""
    known = {name for flavor in KNOWN_FLAVORS for name in (flavor, f"trackyard-{flavor}")}
    if blocked := blocked_names() - known:
        _warn_of_unknown(blocked)


@cache
def _warn_of_unknown(blocked: frozenset[str]) -> None:
    found = [info for group in GROUPS for info in find_plugins(group)]
    known = {_normal(name) for info in found for name in (info.name, info.distribution)}
    for name in sorted(blocked - known):
        logger.warning(
            "TRACKYARD_DISABLE_PLUGINS: no plugin or distribution %r is installed%s",
            name,
            did_you_mean(name, {*known, *KNOWN_FLAVORS}),
        )


def find_plugins(group: str) -> tuple[PluginInfo, ...]:
    """List the installed plugins of an entry-point group, sorted by name, importing none."""
    from importlib.metadata import entry_points  # 40 ms, needed only where plugins are looked up

    blocked = blocked_names()
    found = {_describe(entry_point, blocked) for entry_point in entry_points(group=group)}
    return tuple(sorted(found, key=lambda info: (info.name, info.distribution)))


def load_flavor(reference: str) -> type:
    """Import a flavor by its name or by a dotted path such as `mypkg.trackers:CsvTracker`.

    Raises:
        PluginError: It is unknown, blocked, ambiguous or broken, or breaks a rule.
    """
    loaded: type = _load_checked(_flavor_info(reference))
    return loaded


def import_flavor(reference: str) -> Any:
    """Import what stands behind a flavor's name or dotted path, whatever rule it breaks.

    Raises:
        PluginError: It is unknown, blocked, ambiguous or broken.
    """
    return _load(_flavor_info(reference))


def load_orchestrator(name: str) -> Any:
    """Import an orchestrator class by its name.

    Raises:
        PluginError: It is unknown, blocked, ambiguous or broken.
    """
    return _load_checked(_only_one(name, ORCHESTRATORS))


def load_materializers() -> tuple[Any, ...]:
    """Import the output formats that packages bring; one that cannot be loaded is named.

    An entry point may name an object or a class without arguments.
    """
    loaded = []
    for info in find_plugins(MATERIALIZERS):
        if info.is_blocked:
            continue
        try:
            found = _load_checked(info)
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
            loaded[info.name] = _load_checked(info)
        except PluginError as error:
            problems.append(str(error))
    return tuple(loaded.items()), tuple(dict.fromkeys(problems))


def inspect_plugin(info: PluginInfo) -> tuple[str, list[str]]:
    """Import a plugin and give its file and the hooks that it implements.

    Raises:
        PluginError: It is blocked or broken, or breaks a rule.
    """
    plugin = _load_checked(info)
    owner = plugin if inspect.ismodule(plugin) or inspect.isclass(plugin) else type(plugin)
    return inspect.getsourcefile(owner) or "", list(implemented_hooks(plugin))


def hook_signatures() -> dict[str, tuple[str, ...]]:
    """Give every hook of the contract with the names of its arguments."""
    from trackyard import hookspecs

    return {
        name: tuple(inspect.signature(function).parameters)
        for name, function in vars(hookspecs).items()
        if name.startswith("tracker_") and inspect.isfunction(function)
    }


def implemented_hooks(plugin: object) -> tuple[str, ...]:
    """Name the hooks that a plugin implements, in the order of the contract."""
    marked = {_hook_name(name, function) for name, function in marked_functions(plugin)}
    return tuple(name for name in hook_signatures() if name in marked)


def marked_functions(plugin: object) -> Iterator[tuple[str, Any]]:
    """Give a plugin's functions that are marked with `@hookimpl`, with their names."""
    return ((name, f) for name, f in _functions(plugin) if hasattr(f, "trackyard_impl"))


def check_hooks(plugin: object, who: str) -> None:
    """Reject a plugin that pluggy would accept in silence and that would not work.

    Args:
        plugin: A flavor class, a module or any other object.
        who: The plugin and its distribution, for the message.

    Raises:
        PluginError: It says what is wrong and what to type.
    """
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


def _describe(entry_point: EntryPoint, blocked: frozenset[str]) -> PluginInfo:
    # Any of it may be missing: a damaged distribution must not hide the others.
    metadata: Any = (entry_point.dist and entry_point.dist.metadata) or {}
    distribution = metadata.get("Name") or ""
    return PluginInfo(
        name=entry_point.name,
        group=entry_point.group,
        value=entry_point.value,
        distribution=distribution,
        version=metadata.get("Version") or "",
        summary=metadata.get("Summary") or "",
        is_blocked=bool(blocked & {_normal(entry_point.name), _normal(distribution)}),
    )


def _flavor_info(reference: str) -> PluginInfo:
    if ":" in reference:
        return PluginInfo(reference, FLAVORS, reference)
    return _only_one(reference, FLAVORS)


def _only_one(name: str, group: str) -> PluginInfo:
    installed = find_plugins(group)
    matches = [info for info in installed if info.name == name]
    kind = _KINDS[group]
    if not matches:
        names = {info.name for info in installed}
        is_known = group == FLAVORS and name in KNOWN_FLAVORS
        install = f"; type: pip install trackyard-{name}" if is_known else ""
        hint = install or did_you_mean(name, names) or f"; installed are {listed(names)}"
        raise PluginError(f"no {kind} {name!r} is installed{hint}")
    if len(matches) > 1:
        owners = " and ".join(info.origin for info in matches)
        raise PluginError(
            f"{kind} {name!r} is declared by {owners}; type: pip uninstall one of them"
        )
    return matches[0]


def _load_checked(info: PluginInfo) -> Any:
    """Import a plugin and refuse it where it breaks a rule."""
    loaded = _load(info)
    who = f"{_KINDS[info.group]} {info.name!r} from {info.origin}"
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
    if info.group in (FLAVORS, PLUGINS):
        check_hooks(loaded, who)
    if info.group == FLAVORS and not implemented_hooks(loaded):
        raise PluginError(
            f"{who}: {info.value} implements no hook; write methods such as tracker_log(self, "
            f"run, batch) with @trackyard.hookimpl above them"
        )
    return loaded


def _check_materializer(loaded: Any, who: str) -> None:
    missing = [
        name for name in ("name", "suffix", "can_save", "save", "load") if not hasattr(loaded, name)
    ]
    if missing:
        raise PluginError(f"{who}: is no materializer, it lacks {listed(missing)}")


def _load(info: PluginInfo) -> Any:
    kind = _KINDS[info.group]
    if info.is_blocked or blocked_names() & {_normal(info.name)}:
        raise PluginError(
            f"{kind} {info.name!r} is blocked by TRACKYARD_DISABLE_PLUGINS="
            f"{os.environ['TRACKYARD_DISABLE_PLUGINS']}; take it out of there to use it"
        )
    module_name, _, attribute = info.value.partition("[")[0].partition(":")  # without extras
    here = str(Path.cwd())
    if not info.distribution and here not in sys.path:
        # A dotted path names the user's own module; console scripts do not look beside them.
        sys.path.append(here)
    try:
        loaded: Any = _script(module_name.strip()) or importlib.import_module(module_name.strip())
        for part in filter(None, attribute.strip().split(".")):
            loaded = _attribute(loaded, part, f"{kind} {info.name!r} from {info.origin}")
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:  # a module may call sys.exit() when it is imported
        raise PluginError(
            f"{kind} {info.name!r} from {info.origin} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    return loaded


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


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
