"""How does one write a pipeline of steps and run it?"""

from trackyard.pipelines.definition import Pipeline, pipeline
from trackyard.pipelines.steps import Step, step

__all__ = ["Pipeline", "Step", "pipeline", "step"]
