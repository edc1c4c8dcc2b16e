"""Which lines log what a framework trains, as installed packages tell them?

A package names a text for each of its frameworks as entry points of the group
`trackyard.frameworks`. Reading one imports no framework.
"""

from __future__ import annotations

import importlib

from trackyard.contract.errors import PluginError
from trackyard.system.distributions import find_entry_points
from trackyard.system.suggestions import did_you_mean, listed

FRAMEWORKS = "trackyard.frameworks"
DISTRIBUTION = "trackyard-integrations"


def framework_lines(name: str) -> tuple[str, ...]:
    """Give the lines that a user of a framework adds to a training.

    Raises:
        PluginError: No installed package knows the framework, or its text cannot be read.
    """
    declared = {one.name: one for one in find_entry_points(FRAMEWORKS)[0]}
    found = declared.get(name)
    if found is None and not declared:
        raise PluginError(f"no framework {name!r} is known here; type: pip install {DISTRIBUTION}")
    if found is None:
        hint = did_you_mean(name, declared) or f"; there are {listed(sorted(declared))}"
        raise PluginError(f"no framework {name!r} is known{hint}")
    module, _, attribute = found.value.partition(":")
    try:
        text = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module is a stranger's
        raise PluginError(
            f"framework {name!r} from {found.distribution} cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error
    return tuple(str(text).strip().splitlines())
