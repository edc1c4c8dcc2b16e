"""What does a project say of its store: which database is it, and when does it end silent runs?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.project.configuration import Project
from trackyard.project.structuring import structure
from trackyard.system.durations import seconds_in

# Seconds without a sign of life after which a run of another machine is unreachable.
SILENT_AFTER = 300.0


def _duration(_: Any, __: Any, value: str | None) -> None:
    if value is None:
        return
    seconds = seconds_in(value)
    if seconds is None or seconds < SILENT_AFTER:
        raise ValueError(f"must be a time of 5m or more, such as 12h or 7d, not {value!r}")


@attrs.frozen(kw_only=True)
class StoreOptions:
    """What a project says of its store, in `[store]`; `store = "URL"` says the URL alone.

    Attributes:
        url: `sqlite:///path`, `postgresql://...`, or a reference to one; None for `store.db` in
            the project's home.
        end_after: How long a run of another machine has been silent before `trackyard sync` ends
            it as crashed, such as `7d`; None for never.
    """

    url: str | None = None
    end_after: str | None = attrs.field(default=None, validator=_duration)


def load_store_options(project: Project) -> StoreOptions:
    """Read what a project's files say of the store.

    Raises:
        ConfigError: It is neither a URL nor a table, has an unknown key or a wrong value.
    """
    written = project.table.get("store")
    if isinstance(written, str):  # the only form that most projects use needs no import of cattrs
        return StoreOptions(url=written)
    place = project.place("store")
    if written is not None and not isinstance(written, Mapping):
        raise ConfigError(f"{place}: must be a database URL or a table, not {written!r}")
    return structure(written, StoreOptions, place) if written else StoreOptions()


def names_store(project: Project) -> bool:
    """Tell whether a project names a database, in place of the one in its home."""
    written = project.table.get("store")
    return "url" in written if isinstance(written, Mapping) else written is not None


def place_of_url(project: Project) -> str:
    """Name the place of the store's URL, for messages."""
    is_table = isinstance(project.table.get("store"), Mapping)
    return project.place("store", "url") if is_table else project.place("store")
