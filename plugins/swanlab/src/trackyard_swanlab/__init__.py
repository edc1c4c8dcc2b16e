"""SwanLab as a Trackyard experiment tracker."""

from trackyard_swanlab.tracker import SwanlabTracker

__all__ = ["SwanlabTracker"]
