"""Which names does a shell offer for trackers, stacks, flavors, orchestrators and runs?

Nothing is offered where the configuration or the store cannot be read: a shell shows no errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from trackyard.project.configuration import find_project

_MOST_RUNS = 200

_Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _completing(find_names: Callable[[], Iterable[str]]) -> _Complete:
    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        try:
            names = list(find_names())
        except Exception:  # whatever is wrong, the command itself says it
            return []
        # A name with a line's end in it would be two for the shell.
        return [name for name in names if name.startswith(incomplete) and name.isprintable()]

    return complete


def _configured(section: str) -> list[str]:
    tables: dict[str, Any] = find_project().table.get(section, {})
    return list(tables)


def _installed(group: str) -> list[str]:
    from trackyard.hooks.discovery import find_plugins

    return [info.name for info in find_plugins(group)]


def _flavors() -> list[str]:
    from trackyard.hooks.discovery import FLAVORS

    return _installed(FLAVORS)


def _orchestrators() -> list[str]:
    from trackyard.hooks.discovery import ORCHESTRATORS

    return _installed(ORCHESTRATORS)


def _runs() -> list[str]:
    from trackyard.runs.lists import list_runs
    from trackyard.store.listing import RunFilter

    runs = list_runs(find_project(), RunFilter(most=_MOST_RUNS))
    return list(dict.fromkeys(run.name for run in runs))


def _trackers() -> list[str]:
    from trackyard.project.trackers import Trackers

    return list(Trackers(find_project()).configured)


flavor_names = _completing(_flavors)
orchestrator_names = _completing(_orchestrators)
run_names = _completing(_runs)
stack_names = _completing(lambda: _configured("stacks"))
tracker_names = _completing(_trackers)
