"""How does a training of Keras become a run, on any backend?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from trackyard_integrations.checkpoints import SentCheckpoints
from trackyard_integrations.joining import TrainingRun, contained, next_step, numbers


class TrackyardCallback(keras.callbacks.Callback):
    """Log each epoch: `model.fit(..., callbacks=[checkpoint, TrackyardCallback(checkpoint)])`.

    Epochs of several fits count on, also in a run that is resumed, so that no step comes twice.
    """

    def __init__(self, checkpoint: keras.callbacks.ModelCheckpoint | None = None) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self._training = TrainingRun("keras")
        self._epoch = 0
        self._sent = SentCheckpoints()

    @contained
    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Log what the model and its optimizer are."""
        run = self._training.begin()
        if self._epoch:
            return
        optimizer = {f"optimizer_{k}": v for k, v in self.model.optimizer.get_config().items()}
        run.log_params({**self.params, "parameters": self.model.count_params(), **optimizer})
        run.log_text(self.model.to_json(), "model.json")

    @contained
    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log an epoch's numbers.

        Args:
            epoch: The epoch.
            logs: Its numbers by name.
        """
        run, reached = self._training.begin(), numbers(logs or {})
        self._epoch = max(self._epoch, epoch) or next_step(run, reached)
        run.log_metrics(reached, step=self._epoch)
        self._epoch += 1

    @contained
    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Log what the checkpoint callback has left; end the run if it is the training's own."""
        try:
            if self.checkpoint is not None:
                self._log_checkpoints(self.checkpoint)
        finally:
            self._training.end()

    def _log_checkpoints(self, checkpoint: keras.callbacks.ModelCheckpoint) -> None:
        run, written = self._training.begin(), Path(checkpoint.filepath)
        run.log_metrics(numbers({f"best_{checkpoint.monitor}": checkpoint.best}))
        found = written.parent.glob(re.sub(r"\{.*?\}", "*", written.name))
        self._sent.send(run, *sorted(found))
