"""How does a training loop of Accelerate become a run?"""

from __future__ import annotations

from typing import Any

import accelerate
from accelerate import tracking

from trackyard import ActiveRun, TrackyardError
from trackyard_integrations.joining import TrainingRun, contained, numbers
from trackyard_integrations.pictures import log_images


class TrackyardTracker(tracking.GeneralTracker):
    """Log to the run that is there, or one of its own: `Accelerator(log_with=...)`.

    Args:
        run_name: The project, which a run of its own has as experiment.
    """

    name = "trackyard"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, run_name: str = "accelerate", **_: Any) -> None:
        super().__init__()
        self._training = TrainingRun(run_name)

    @property
    def tracker(self) -> ActiveRun:
        """The run."""
        return self._training.begin()

    @tracking.on_main_process
    @contained
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Log the configuration."""
        self.tracker.log_params(values)

    @tracking.on_main_process
    @contained
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Log numbers of a step.

        Args:
            values: What is logged, by name.
            step: The training step.
        """
        self.tracker.log_metrics(numbers(values), step=step)

    @tracking.on_main_process
    @contained
    def log_images(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Log lists of images.

        Args:
            values: The lists by name.
            step: The training step.
        """
        for name, images in values.items():
            log_images(self.tracker, name, images, step)

    @tracking.on_main_process
    @contained
    def finish(self) -> None:
        """End the run if it is the training's own."""
        self._training.end()


def register() -> None:
    """Let `Accelerator(log_with="trackyard")` mean this tracker, in this process."""
    if not hasattr(tracking, "register_tracker_class"):
        raise TrackyardError(
            f"Accelerate {accelerate.__version__} knows its own trackers alone by name; type "
            "pip install 'accelerate>=1.15', or write Accelerator(log_with=[TrackyardTracker()])"
        )
    tracking.register_tracker_class(TrackyardTracker)
