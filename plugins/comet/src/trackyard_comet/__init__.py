"""Comet as a Trackyard experiment tracker."""

from trackyard_comet.tracker import CometTracker

__all__ = ["CometTracker"]
