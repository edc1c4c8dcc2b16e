"""How do jobs of Hydra become runs, and those of a sweep one group?"""

from __future__ import annotations

from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

import trackyard
from trackyard_integrations.joining import contained


class TrackyardCallback(Callback):
    """Make each job a run, which has its configuration as params and its overrides as tags.

    It stands in the configuration as `hydra.callbacks.trackyard._target_`.
    """

    def __init__(self) -> None:
        self._sweep: trackyard.ActiveRun | None = None
        self._job: trackyard.ActiveRun | None = None

    @contained
    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Start the run that groups the jobs of a sweep."""
        name = str(config.hydra.job.name)
        overrides = ",".join(config.hydra.overrides.task)
        tags = {"hydra.mode": "MULTIRUN", "hydra.sweep": overrides}
        self._sweep = trackyard.start_run(f"{name}-sweep", name, nested=True, tags=tags)

    @contained
    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002
        """End the sweep's run."""
        if self._sweep is not None:
            self._sweep.end()

    @contained
    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Start a job's run."""
        job = config.hydra.job
        name = str(job.override_dirname or job.name)
        number = OmegaConf.select(config, "hydra.job.num", default=0)
        overrides = [str(text) for text in config.hydra.overrides.task]
        tags = {"hydra.job": str(number), "hydra.overrides": ",".join(overrides)}
        self._job = trackyard.start_run(name, str(job.name), nested=True, tags=tags)
        own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        self._job.log_params(OmegaConf.to_container(own, resolve=True, throw_on_missing=False))

    @contained
    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:  # noqa: ARG002
        """End a job's run as the job has ended.

        Args:
            config: The job's configuration.
            job_return: How the job has ended.
        """
        if self._job is not None:
            if job_return.status is JobStatus.FAILED:
                self._job.set_status("failed")
            self._job.end()
            self._job = None
