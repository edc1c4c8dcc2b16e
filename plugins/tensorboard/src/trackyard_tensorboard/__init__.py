"""TensorBoard as a Trackyard experiment tracker."""

from trackyard_tensorboard.tracker import TensorboardTracker

__all__ = ["TensorboardTracker"]
