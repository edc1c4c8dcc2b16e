"""How does a training of Lightning become a run, in every rank and strategy?"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any, Literal

from trackyard_integrations.checkpoints import LightningCheckpoints, SentCheckpoints
from trackyard_integrations.joining import TrainingRun, contained, numbers

# A Trainer takes the loggers of its own package.
if "lightning" in sys.modules or "pytorch_lightning" not in sys.modules:
    from lightning.fabric.utilities.logger import _convert_params, _flatten_dict
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities import rank_zero_only
else:
    from lightning_fabric.utilities.logger import _convert_params, _flatten_dict
    from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
    from pytorch_lightning.utilities import rank_zero_only


class TrackyardLogger(Logger):
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
        return None if rank_zero_only.rank else self._training.begin().id

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run; in other ranks than 0 what takes every call and does nothing."""
        return self._training.begin()

    @rank_zero_only
    @contained
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log numbers of a step.

        Args:
            metrics: Numbers by name.
            step: The training step.
        """
        self.experiment.log_metrics(numbers(metrics), step=step)

    @rank_zero_only
    @contained
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Log hyperparameters; nested ones get names such as `optimizer/lr`."""
        self.experiment.log_params(_flatten_dict(_convert_params(params)))

    @rank_zero_only
    @contained
    def log_graph(self, model: Any, input_array: Any = None) -> None:  # noqa: ARG002
        """Log the model's modules as a text.

        Args:
            model: The model.
            input_array: Not needed.
        """
        self.experiment.log_text(str(model), "model.txt")

    @rank_zero_only
    @contained
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Remember the checkpoints, and log them where each one is wanted."""
        self._checkpoints = LightningCheckpoints(checkpoint_callback)
        if self._log_model == "all":
            self._sent.send(self.experiment, *self._checkpoints.paths)

    @rank_zero_only
    @contained
    def finalize(self, status: str) -> None:
        """Log what is left, and end the run if it is the training's own; a next fit goes on."""
        try:
            self._log_best()
        finally:
            self._checkpoints = None
            self._training.end("failed" if status == "failed" else "finished")

    def _log_best(self) -> None:
        if self._checkpoints is not None:
            if self._log_model:
                self._sent.send(self.experiment, *self._checkpoints.paths)
            self.experiment.log_metrics(numbers({"best_score": self._checkpoints.score}))
            self.experiment.set_tag("best_checkpoint", self._checkpoints.best)
