"""Which flavors and commands does one know of that need not be installed?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen
class KnownFlavor:
    """A flavor that `pip install` would bring.

    Attributes:
        name: Its name.
        needs_account: It is of no use without an account somewhere.
        variables: Those of its SDK that speak for it.
    """

    name: str
    needs_account: bool
    variables: tuple[str, ...]

    @property
    def distribution(self) -> str:
        """What to install."""
        return f"trackyard-{self.name}"


@cache
def known_flavors() -> Mapping[str, KnownFlavor]:
    """Read the known flavors, by name, in the order in which a project would choose one."""
    tables = _known()["flavors"].items()
    return {
        name: KnownFlavor(name, table["needs_account"], tuple(table["variables"]))
        for name, table in tables
    }


def known_commands() -> Mapping[str, str]:
    """Read which distribution brings each of the known commands."""
    return {name: f"trackyard-{name}" for name in _known()["commands"]}


@cache
def _known() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(Path(__file__).with_name("known.toml").read_text(encoding="utf-8"))
