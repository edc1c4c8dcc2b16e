"""How does a training of Lightning become a run, in every rank and strategy?"""

from __future__ import annotations

from typing import Any, Literal

from trackyard_integrations import lightning_package as package
from trackyard_integrations.checkpoints import LightningCheckpoints, SentCheckpoints
from trackyard_integrations.joining import TrainingRun, numbers
from trackyard_integrations.pictures import LogsImages


class TrackyardLogger(LogsImages, package.Logger):
    """Log to the run that is there, or one of its own: `Trainer(logger=TrackyardLogger())`.

    Args:
        log_model: True logs the checkpoints that are there at the end, "all" each one as it is
            written.
    """

    def __init__(self, log_model: Literal["all"] | bool = False) -> None:
        super().__init__()
        self._log_model = log_model
        self._training = TrainingRun("lightning")
        self._sent = SentCheckpoints()
        self._checkpoints: LightningCheckpoints | None = None

    @property
    def name(self) -> str:
        """The name of the folder of checkpoints."""
        return "trackyard"

    @property
    def version(self) -> str | None:
        """The run's id, in rank 0."""
        return None if package.rank_zero_only.rank else self._training.begin().id

    @property
    @package.rank_zero_experiment
    def experiment(self) -> Any:
        """The run; in other ranks than 0 what takes every call and does nothing."""
        return self._training.begin()

    @package.in_rank_zero
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log numbers of a step.

        Args:
            metrics: Numbers by name.
            step: The training step.
        """
        self.experiment.log_metrics(numbers(metrics), step=step)

    @package.in_rank_zero
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Log hyperparameters; nested ones get names such as `optimizer/lr`."""
        self.experiment.log_params(package.flattened(params))

    @package.in_rank_zero
    def log_graph(self, model: Any, *_: Any, **__: Any) -> None:
        """Log the model's modules as a text."""
        self.experiment.log_text(str(model), "model.txt")

    @package.in_rank_zero
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Remember the checkpoints, and log them where each one is wanted."""
        self._checkpoints = LightningCheckpoints(checkpoint_callback)
        if self._log_model == "all":
            self._sent.send(self.experiment, *self._checkpoints.paths)

    @package.in_rank_zero
    def finalize(self, status: str) -> None:
        """Log what is left, and end the run if it is the training's own; a next fit goes on."""
        try:
            if self._checkpoints is not None:
                self._checkpoints.log(self.experiment, self._sent if self._log_model else None)
        finally:
            self._checkpoints = None
            self._training.end("failed" if status == "failed" else "finished")
