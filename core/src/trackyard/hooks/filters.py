"""Which records may be journaled, and as what: what do the cross-cutting plugins let pass?"""

from __future__ import annotations

import logging
from collections.abc import Callable

import pluggy

from trackyard.contract import hookspecs
from trackyard.contract.records import Record, Run
from trackyard.hooks.guards import reason_of, tried
from trackyard.hooks.managers import NamedPlugins
from trackyard.hooks.rules import implemented_hooks

logger = logging.getLogger("trackyard")

RecordFilter = Callable[[Record], Record | None]


def record_filters(plugins: NamedPlugins, run: Run) -> list[RecordFilter]:
    """Ask the cross-cutting plugins for their filters, once per run.

    Where one fails to give its filter every record is dropped: it may be there to keep a secret
    out.

    Args:
        plugins: The plugins that stand across all trackers.
        run: The run.
    """
    filtering = [(name, plugin) for name, plugin in plugins if _filters(plugin)]
    if not filtering:
        return []  # without a manager, which takes half a millisecond to make
    manager = pluggy.PluginManager("trackyard")
    manager.add_hookspecs(hookspecs)
    for name, plugin in filtering:
        manager.register(plugin, name=name)
    filters, error = tried(_checked_filters, manager, run)
    if error is not None:
        names = [name for name, _ in filtering]
        logger.warning(
            "every record of run %r is dropped, since plugin %s failed: %s; mend it, or type: "
            "TRACKYARD_DISABLE_PLUGINS=%s",
            run.name,
            " or ".join(map(repr, names)),
            reason_of("tracker_filter_records", error),
            ",".join(names),
        )
        return [_drop]
    return filters or []


def _checked_filters(manager: pluggy.PluginManager, run: Run) -> list[RecordFilter]:
    filters: list[RecordFilter] = manager.hook.tracker_filter_records(run=run)
    for given in filters:
        if not callable(given):
            raise TypeError(f"gave {type(given).__name__}, which is no function")
    return filters


def _filters(plugin: object) -> bool:
    """Tell whether a plugin has a part in filtering."""
    return "tracker_filter_records" in implemented_hooks(plugin)


def _drop(_record: Record) -> None:
    return None


def apply_filters(filters: list[RecordFilter], record: Record) -> Record | None:
    """Pass a record through the filters.

    A filter that raises, or gives no record, drops it: it may be there to keep a secret out.

    Args:
        filters: The run's filters.
        record: The record.
    """
    for filter_ in filters:
        filtered, error = tried(filter_, record)
        if error is None and filtered is None:
            return None
        if not isinstance(filtered, Record):
            error = error or TypeError(f"a filter gave {type(filtered).__name__}")
            logger.warning("a record was dropped: %s", reason_of("tracker_filter_records", error))
            return None
        record = filtered
    return record
