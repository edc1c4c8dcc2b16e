"""DVCLive's files as a Trackyard experiment tracker."""

from trackyard_dvclive.tracker import DvcliveTracker

__all__ = ["DvcliveTracker"]
