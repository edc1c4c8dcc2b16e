"""What does a project say of what its runs print?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.project.configuration import Project
from trackyard.project.structuring import structure


def _some(_: Any, __: Any, value: float) -> None:
    if not 0.01 <= value <= 10_000:
        raise ValueError(f"must be between 0.01 and 10000 megabytes, not {value!r}")


@attrs.frozen(kw_only=True)
class ConsoleOptions:
    """What a project says of what its runs print, in `[console]`; `console = false` keeps nothing.

    Attributes:
        megabytes: How much of it is kept of each run: one half of the first, one of the last.
    """

    megabytes: float = attrs.field(default=10.0, validator=_some)

    @property
    def limit(self) -> int:
        """How many bytes are kept at most."""
        return int(self.megabytes * 1_000_000)


def load_console_options(project: Project) -> ConsoleOptions | None:
    """Read a project's `[console]`; None where nothing is to be kept.

    Raises:
        ConfigError: It has an unknown key or a wrong value.
    """
    table, place = project.table.get("console", {}), project.place("console")
    if isinstance(table, bool):
        return ConsoleOptions() if table else None
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: must be a table, true or false, not {table!r}")
    return structure(table, ConsoleOptions, place) if table else ConsoleOptions()
