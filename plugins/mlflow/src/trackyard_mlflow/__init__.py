"""MLflow as a Trackyard experiment tracker."""

from trackyard_mlflow.tracker import MlflowTracker

__all__ = ["MlflowTracker"]
