"""How does a training of Ray Train log to the run that is there?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray.train import UserCallback

from trackyard import ActiveRun
from trackyard_integrations.checkpoints import send_from_ray
from trackyard_integrations.joining import contained, current_run_for, numbers, points_before


class TrackyardCallback(UserCallback):
    """Log what rank 0 reports: `ray.train.RunConfig(callbacks=[TrackyardCallback()])`.

    Ray calls it in a process of its own, where it finds the run that is current here by its id,
    and is told of no end.

    Args:
        log_checkpoints: Also log each checkpoint that is reported.
        step: The reported number that is the step, such as `epoch`; by default reports are counted,
            on from those that a run has which is resumed.
    """

    def __init__(self, *, log_checkpoints: bool = False, step: str | None = None) -> None:
        self.log_checkpoints = log_checkpoints
        self.step = step
        self._run: ActiveRun | None = None
        self._before: Mapping[str, int] = {}
        self._reports = 0

    def __getstate__(self) -> dict[str, Any]:
        run = self._run or current_run_for("the callback of Ray Train")
        before = points_before(run) if run is not None and self._run is None else self._before
        return {**self.__dict__, "_run": run, "_before": before}

    @contained
    def after_report(
        self,
        run_context: Any,  # noqa: ARG002
        metrics: Sequence[Mapping[str, Any]],
        checkpoint: Any,
    ) -> None:
        """Log a report.

        Args:
            run_context: Not needed.
            metrics: What each rank reported.
            checkpoint: The checkpoint that was reported with it, or None.
        """
        if self._run is None or not metrics:
            return
        reported = numbers(metrics[0])
        if not self._reports:
            self._reports = max((self._before.get(key, 0) for key in reported), default=0)
        step = self._reports if self.step is None else reported.get(self.step)
        self._reports += 1
        self._run.log_metrics(reported, step=step)
        if self.log_checkpoints and checkpoint is not None:
            send_from_ray(self._run, checkpoint)

    @contained
    def after_exception(
        self,
        run_context: Any,  # noqa: ARG002
        worker_exceptions: Mapping[int, Exception],
    ) -> None:
        """Say which worker has raised; whether the training goes on is known to its block alone.

        Args:
            run_context: Not needed.
            worker_exceptions: What was raised by rank.
        """
        if self._run is not None:
            texts = [f"rank {rank}: {error}" for rank, error in sorted(worker_exceptions.items())]
            self._run.set_tag("ray.exception", "\n".join(texts))
