"""How does a training of Transformers become a run, also by TRL and sentence-transformers?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import integration_utils

from trackyard_integrations.checkpoints import SentCheckpoints
from trackyard_integrations.joining import TrainingRun, contained, numbers


class TrackyardCallback(TrainerCallback):
    """Log to the run that is there, or one of its own: `Trainer(callbacks=[TrackyardCallback()])`.

    Args:
        log_checkpoints: Also log each checkpoint as it is saved.
    """

    def __init__(self, *, log_checkpoints: bool = False) -> None:
        self.log_checkpoints = log_checkpoints
        self._training = TrainingRun("transformers")
        self._sent = SentCheckpoints()

    @contained
    def on_train_begin(self, args: Any, state: Any, *_: Any, **given: Any) -> None:
        """Log the configuration of the model and of the training.

        Args:
            args: The training's arguments.
            state: Where the training stands.
            given: The model, among others.
        """
        if state.is_world_process_zero:
            config: Any = getattr(given.get("model"), "config", None)
            of_model = config.to_dict() if hasattr(config, "to_dict") else {}
            self._training.begin().log_params({**of_model, **args.to_dict()})

    @contained
    def on_log(self, _: Any, state: Any, *__: Any, logs: Any = None, **___: Any) -> None:
        """Log numbers, under the names that the Trainer's other integrations give them.

        Args:
            state: Where the training stands.
            logs: Its numbers by name.
        """
        if state.is_world_process_zero:
            named = integration_utils.rewrite_logs(logs or {})
            self._training.begin().log_metrics(numbers(named), step=state.global_step)

    @contained
    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Log a checkpoint, if they are wanted.

        Args:
            args: The training's arguments.
            state: Where the training stands.
        """
        if self.log_checkpoints and state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self._sent.send(self._training.begin(), folder)

    @contained
    def on_train_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        """Log what was best, and end the run if it is the training's own."""
        if state.is_world_process_zero:
            run = self._training.begin()
            run.log_metrics(numbers({"best_metric": state.best_metric}))
            if state.best_model_checkpoint:
                run.set_tag("best_checkpoint", str(state.best_model_checkpoint))
            self._training.end()


def register() -> None:
    """Let `TrainingArguments(report_to="trackyard")` mean this callback, in this process."""
    integration_utils.INTEGRATION_TO_CALLBACK["trackyard"] = TrackyardCallback
