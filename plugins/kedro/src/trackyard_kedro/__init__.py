"""Kedro nodes as tracked steps of Trackyard."""

from trackyard_kedro.hooks import TrackyardHooks

# What Kedro finds by its entry point, in the main process and in each worker.
hooks = TrackyardHooks()

__all__ = ["TrackyardHooks", "hooks"]
