"""Neptune as a Trackyard experiment tracker."""

from trackyard_neptune.tracker import NeptuneTracker

__all__ = ["NeptuneTracker"]
