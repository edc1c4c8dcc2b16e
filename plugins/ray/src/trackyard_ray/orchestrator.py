"""How are steps run as tasks of a Ray cluster?"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, ClassVar

import attrs

from trackyard import StepCrashedError, process_values
from trackyard.pipelines.attempts import Attempt, Outcome
from trackyard.pipelines.jobs import Job
from trackyard.pipelines.parcels import run_packed, unpack_outcome

# Seconds that a step which is told to stop, or whose timeout is over, may take to end.
_GRACE = 5.0
# What a Ray task is asked for by a name of its own; the rest are custom resources.
_OWN = ("num_cpus", "num_gpus", "memory", "accelerator_type")


def _positive(_: Any, __: Any, value: int) -> None:
    if value < 1:
        raise ValueError(f"must be 1 or more, not {value!r}")


def _not_negative(_: Any, __: Any, value: int) -> None:
    if value < 0:
        raise ValueError(f"must be 0 or more, not {value!r}")


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@attrs.define(eq=False, kw_only=True)
class RayOrchestrator:
    """Runs steps as tasks of a Ray cluster."""

    address: str | None = attrs.field(
        default=None, metadata=_help("The cluster, or 'auto'; none starts one here")
    )
    num_cpus: int | None = attrs.field(
        default=None, metadata=_help("Processors of a cluster that is started here")
    )
    runtime_env: dict[str, Any] = attrs.field(
        factory=dict, metadata=_help("Ray's runtime environment")
    )
    max_retries: int = attrs.field(
        default=0,
        validator=_not_negative,
        metadata=_help("How often a step whose worker died is tried again"),
    )
    max_tasks: int = attrs.field(
        default=100, validator=_positive, metadata=_help("How many tasks may be asked for at once")
    )

    is_elsewhere: ClassVar[bool] = True
    _lock: Lock = attrs.field(init=False, factory=Lock)
    _running: set[Any] = attrs.field(init=False, factory=set)
    _task: Any = attrs.field(init=False, default=None)
    _is_own_cluster: bool = attrs.field(init=False, default=False)
    _is_stopping: bool = attrs.field(init=False, default=False)

    @property
    def places(self) -> int:
        """How many steps may wait or run at once."""
        return self.max_tasks

    def run(self, job: Job) -> Outcome:
        """Run an attempt as a task, and wait for it."""
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        packed = job.pack()
        reference = self._submit(job.attempt, packed)
        limit = None if job.attempt.timeout is None else job.attempt.timeout + _GRACE
        try:
            return unpack_outcome(ray.get(reference, timeout=limit))
        except GetTimeoutError:
            ray.cancel(reference, force=True)
            raise StepCrashedError("the step took longer than its timeout") from None
        except RayError as error:  # a task itself never raises: see `run_packed`
            first = (str(error).strip().splitlines() or [""])[0]
            raise StepCrashedError(f"{type(error).__name__}: {first}") from error
        finally:
            with self._lock:
                self._running.discard(reference)

    def stop(self) -> None:
        """Tell the steps that run to stop, and end their workers where they do not."""
        import ray

        with self._lock:
            self._is_stopping = True
            running = list(self._running)
        for reference in running:
            ray.cancel(reference, force=False)
        end = time.monotonic() + _GRACE
        while self._running and time.monotonic() < end:
            time.sleep(0.02)
        for reference in running:
            ray.cancel(reference, force=True)

    def close(self) -> None:
        """Stop the cluster, if it was started for this pipeline run."""
        if self._is_own_cluster:
            import ray

            ray.shutdown()

    def _submit(self, attempt: Attempt, packed: bytes) -> Any:
        with self._lock:
            if self._is_stopping:
                raise StepCrashedError("the pipeline run is being stopped")
            if self._task is None:
                self._task = self._connect()
            reference = self._task.options(**_asked_for(attempt)).remote(packed)
            self._running.add(reference)
        return reference

    def _connect(self) -> Any:
        import ray

        if not ray.is_initialized():
            environment = dict(self.runtime_env)
            if self.address is None:
                # Its workers find what this script finds.
                path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
                environment["env_vars"] = {**path, **environment.get("env_vars", {})}
            with _same_interpreter(self.address is None):
                ray.init(
                    address=self.address or "local",
                    num_cpus=self.num_cpus,
                    runtime_env=environment,
                    include_dashboard=False if self.address is None else None,
                    configure_logging=False,
                )
            self._is_own_cluster = True
        # Retries are the driver's: each attempt is a run of its own.
        return ray.remote(max_retries=0)(run_packed)


@contextmanager
def _same_interpreter(is_own_cluster: bool) -> Iterator[None]:
    """Have the workers of a cluster on this machine run in this script's own environment.

    Below `uv run` Ray would pack the working directory and start each of them by `uv run` there.
    Source: `RAY_ENABLE_UV_RUN_RUNTIME_ENV` in Ray's `ray.init`.
    """
    from ray._private import ray_constants

    off = [(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", False)]
    with process_values({}, off if is_own_cluster else []):
        yield


def _asked_for(attempt: Attempt) -> dict[str, Any]:
    asked = dict(attempt.resources)
    options = {name: asked.pop(name) for name in _OWN if name in asked}
    return {**options, "resources": asked, "name": attempt.run.name}
