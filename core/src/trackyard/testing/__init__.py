"""How does the author of a flavor prove that it is right?

`FlavorSuite` runs under pytest, which `pip install 'trackyard[testing]'` brings. Nothing else of
Trackyard imports this package but `trackyard experiment-tracker flavor check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackyard.testing.memory import MemoryTracker
    from trackyard.testing.stored import StoredRun
    from trackyard.testing.suite import FlavorSuite

_HOMES = {"FlavorSuite": "suite", "MemoryTracker": "memory", "StoredRun": "stored"}

__all__ = ["FlavorSuite", "MemoryTracker", "StoredRun"]


def __getattr__(name: str) -> Any:
    """Import what is asked for: `MemoryTracker` works without pytest."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trackyard.testing' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"trackyard.testing.{_HOMES[name]}"), name)
