"""Ray as an orchestrator of Trackyard."""

from trackyard_ray.orchestrator import RayOrchestrator

__all__ = ["RayOrchestrator"]
