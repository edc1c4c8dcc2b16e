"""Where are pipeline runs, step runs and their outputs recorded, and how are they read again?

What is asked for is imported then: `Store` brings SQLAlchemy, which costs 190 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trackyard.store.rows import ArtifactRow, PipelineRunRow, StepRunRow

if TYPE_CHECKING:
    from trackyard.store.schema import SCHEMA_VERSION
    from trackyard.store.store import Store

_HOMES = {"SCHEMA_VERSION": "schema", "Store": "store"}

__all__ = ["SCHEMA_VERSION", "ArtifactRow", "PipelineRunRow", "StepRunRow", "Store"]


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trackyard.store' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"trackyard.store.{_HOMES[name]}"), name)
