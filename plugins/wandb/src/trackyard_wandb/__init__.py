"""Weights & Biases as a Trackyard experiment tracker."""

from trackyard_wandb.tracker import WandbTracker

__all__ = ["WandbTracker"]
