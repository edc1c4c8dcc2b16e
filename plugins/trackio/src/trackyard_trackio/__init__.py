"""Trackio as a Trackyard experiment tracker."""

from trackyard_trackio.tracker import TrackioTracker

__all__ = ["TrackioTracker"]
