"""How are steps run as tasks of a Ray cluster?"""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import attrs

from trackyard import StepCrashedError
from trackyard.contract import (
    GRACE,
    ConfigError,
    Job,
    JournalReceiver,
    Outcome,
    heard_of,
    option,
    run_packed,
    ship_what_is_left,
    shipped_journal,
)
from trackyard_ray.interruption import woken_by_cancel
from trackyard_ray.surroundings import (
    Surroundings,
    give_environment_back,
    held_by_trackers,
    same_answer_to_sigterm,
    same_interpreter,
    shut_down,
)

logger = logging.getLogger("trackyard")

# Seconds that the driver's machine, or one whose worker died, may take to answer.
_PATIENCE = 60.0
# How often a cluster is started: a busy machine may not have it up within Ray's own 30 seconds.
_TRIES = 3
# What a task answers that does not see the driver's folder, and was not told where to ship to.
_UNSEEN = b"unseen"
# What a Ray task is asked for by a name of its own; the rest are custom resources.
_OWN = ("num_cpus", "num_gpus", "memory", "accelerator_type")


def _positive(_: Any, __: Any, value: int) -> None:
    if value < 1:
        raise ValueError(f"must be 1 or more, not {value!r}")


def _not_negative(_: Any, __: Any, value: int) -> None:
    if value < 0:
        raise ValueError(f"must be 0 or more, not {value!r}")


@attrs.define(eq=False, kw_only=True)
class RayOrchestrator:
    """Runs steps as tasks of a Ray cluster."""

    address: str | None = option("The cluster, or 'auto'; none starts one here", default=None)
    num_cpus: int | None = option("Processors of a cluster that is started here", default=None)
    runtime_env: dict[str, Any] = option("Ray's runtime environment", factory=dict)
    max_retries: int = option(
        "How often a step whose worker died is tried again", default=0, validator=_not_negative
    )
    max_tasks: int = option(
        "How many tasks may be asked for at once", default=100, validator=_positive
    )
    ship_journals: bool = option(
        "Ship journals also from machines that see the project's folder", default=False
    )

    is_elsewhere: ClassVar[bool] = True
    _receiver: Any = attrs.field(init=False, default=None)
    _lock: Lock = attrs.field(init=False, factory=Lock)
    # What a thread starts is killed when that thread ends, by Ray's `PR_SET_PDEATHSIG`: a cluster
    # is started by one that lasts until it is shut down, unlike those that run steps.
    _starter: ThreadPoolExecutor = attrs.field(
        init=False, factory=partial(ThreadPoolExecutor, 1, "trackyard-ray")
    )
    _running: set[Any] = attrs.field(init=False, factory=set)
    _task: Any = attrs.field(init=False, default=None)
    _is_connected: bool = attrs.field(init=False, default=False)
    _refusal: str | None = attrs.field(init=False, default=None)
    _before: Surroundings | None = attrs.field(init=False, default=None)
    _held: dict[str, str | None] = attrs.field(init=False, factory=dict)
    _is_stopping: bool = attrs.field(init=False, default=False)

    @property
    def places(self) -> int:
        """How many steps may wait or run at once."""
        return self.max_tasks

    def run(self, job: Job) -> Outcome:
        """Run an attempt as a task, and wait for it."""
        with self._lock:
            self._before = self._before or Surroundings()  # its import changes some
        import ray
        from ray.exceptions import RayError

        packed = job.pack()
        if self.ship_journals:
            self._open_receiver(job.folder.parent)
        reference = self._submit(job, packed)
        try:
            reply = ray.get(reference)
            if reply == _UNSEEN:  # now it is known that there are such machines
                self._discard(reference)
                self._open_receiver(job.folder.parent)
                reference = self._submit(job, packed)
                reply = ray.get(reference)
            return job.unpack(reply)
        except RayError as error:  # a task itself never raises: see `run_packed`
            first = (str(error).strip().splitlines() or [""])[0]
            why = f"{type(error).__name__}: {first}"
            if job.patience is not None:
                why += f" (as a step is ended that still runs after {job.patience:g} s)"
            raise self._crashed(job, why) from error
        finally:
            self._discard(reference)

    def check_resources(self, resources: Mapping[str, Any]) -> None:
        """Check what a step asks for.

        Raises:
            ConfigError: It is no amount.
        """
        for name, amount in resources.items():
            is_number = isinstance(amount, int | float) and not isinstance(amount, bool)
            if name != "accelerator_type" and not (is_number and 0 <= amount < math.inf):
                raise ConfigError(f"resources: {name!r} must be a number from 0 on, not {amount!r}")

    def stop(self) -> None:
        """Tell the steps that run to stop, and end their workers where they do not."""
        self._is_stopping = True  # also for what holds the lock while it starts a cluster
        with self._lock:
            running = list(self._running)
        if not running:
            return
        import ray

        try:
            for reference in running:
                ray.cancel(reference, force=False)
            end = time.monotonic() + GRACE
            while self._running and time.monotonic() < end:
                time.sleep(0.02)
        finally:  # a second Ctrl-C must make it faster, not slower
            for reference in running:
                ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster, which ends if it was started for this pipeline run."""
        if self._receiver is not None:
            import ray

            ray.kill(self._receiver)
        if self._is_connected and self._before is not None:
            shut_down(is_own_cluster=self.address is None)
            self._starter.shutdown()
            self._before.give_back()

    def _discard(self, reference: Any) -> None:
        with self._lock:
            self._running.discard(reference)

    def _open_receiver(self, runs: Path) -> None:
        """Begin to take journals, on this machine.

        Raises:
            ConfigError: This machine is no node of the cluster.
        """
        import ray

        with self._lock:
            self._connect()
            if self._receiver is not None:
                return
            logger.warning(
                "orchestrator 'ray': journals are shipped from nodes that do not see %s: calls of "
                "an SDK itself do not land in a step's run there, trackyard's own calls do",
                runs,
            )
            here = _on_node(ray.get_runtime_context().get_node_id())
            kind = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(JournalReceiver)
            receiver = kind.options(scheduling_strategy=here).remote(runs)
            if not ray.get(receiver.sees_runs.remote(), timeout=_PATIENCE):
                ray.kill(receiver)
                raise ConfigError(
                    f"orchestrator 'ray': {runs} is seen neither by the node that runs the step "
                    "nor by the one that this driver is connected to; start the driver on a node "
                    "of the cluster, or set TRACKYARD_HOME to a folder that every node sees"
                )
            self._receiver = receiver

    def _crashed(self, job: Job, why: str) -> StepCrashedError:
        """Make the error of a dead worker, once what it has left on its node is shipped."""
        silent, pace = self._collect(job)
        if not silent:
            return StepCrashedError(why)
        lost = math.ceil(silent * pace)
        text = f"its node was silent for {silent:.1f} s: what was logged since then is lost"
        return StepCrashedError(f"{why}; {text}, about {lost} log call(s)", lost)

    def _collect(self, job: Job) -> tuple[float, float]:
        """Ship what a dead worker has left on its node.

        Returns:
            Where the node is dead, too, the seconds since it was heard, and its log calls a second.
        """
        import ray
        from ray.exceptions import RayError

        heard = heard_of(job.folder)
        if self._receiver is None or heard is None:
            return 0.0, 0.0
        silent = max(0.001, time.time() - heard.time)
        task = ray.remote(num_cpus=0, max_retries=0)(_ship_what_is_left)
        task = task.options(scheduling_strategy=_on_node(heard.node))
        try:
            reference = task.remote(job.run.id, heard.node, self._receiver)
            if ray.get(reference, timeout=_PATIENCE):
                return 0.0, 0.0
            why = "not all of its journal could be shipped"
        except RayError as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        logger.warning("step %r: the rest of its journal is lost: %s", job.run.name, why)
        return silent, heard.pace

    def _submit(self, job: Job, packed: bytes) -> Any:
        seen = None if self.ship_journals else job.mark
        with self._lock:
            self._connect()
            task = self._task.options(**_asked_for(job))
            self._say_what_is_missing(job)
            reference = task.remote(
                packed, job.run.id, seen, self._receiver, job.patience, held=self._held
            )
            self._running.add(reference)
        return reference

    def _say_what_is_missing(self, job: Job) -> None:
        """Refuse what a cluster of this machine has not; warn where another one may grow.

        Raises:
            ConfigError: The step would wait for ever.
        """
        import ray

        names = {"num_cpus": "CPU", "num_gpus": "GPU"}
        asked = {names.get(name, name): amount for name, amount in job.resources.items()}
        asked.pop("accelerator_type", None)
        known = ray.cluster_resources() if asked else {}
        missing = {name: n for name, n in asked.items() if n > known.get(name, 0.0)}
        if not missing:
            return
        text = f"resources of step {job.run.name!r}: no node has {missing}"
        if self.address is None:
            kinds = sorted(name for name in known if not name.startswith("node:"))
            raise ConfigError(f"{text}; the cluster has {', '.join(kinds)}")
        logger.warning("%s: it waits until there is one", text)

    def _connect(self) -> None:
        """Connect to the cluster, or start one here, unless that is done or somebody else did it.

        Raises:
            ConfigError: There is none, or it does not let this process in.
            StepCrashedError: The pipeline run is being stopped.
        """
        import ray

        if self._task is None and not self._is_stopping:
            if not ray.is_initialized():
                self._initialize()
            # Retries are the driver's: each attempt is a run of its own.
            self._task = ray.remote(max_retries=0)(_run_on_node)
        if self._is_stopping:
            raise StepCrashedError("the pipeline run is being stopped")

    def _initialize(self) -> None:
        if self._refusal is not None:  # a cluster that does not answer costs half a minute
            raise ConfigError(self._refusal)
        self._is_connected = True
        for tries in range(_TRIES if self.address is None else 1, 0, -1):
            try:
                return self._starter.submit(self._initialize_ray).result()
            except Exception as error:  # of many kinds, `Exception` itself among them
                shut_down(is_own_cluster=self.address is None)
                if tries == 1 or self._is_stopping:
                    self._refusal = self._why_not(error)
                    raise ConfigError(self._refusal) from error
        return None

    def _why_not(self, error: Exception) -> str:
        text = f"{type(error).__name__}: {error}"
        if self.address is None:
            return f"orchestrator 'ray': no cluster could be started here: {text}"
        return (
            f"orchestrator 'ray': address = {self.address!r} cannot be connected to: {text}; type "
            "`ray status` to see whether it is there; where it asks for a token, set "
            "RAY_AUTH_MODE=token, which Ray does by itself for address = 'auto' alone"
        )

    def _initialize_ray(self) -> None:
        import ray

        environment = dict(self.runtime_env)
        held = held_by_trackers()
        if self.address is None:
            # Its workers find what this script finds.
            path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            environment["env_vars"] = {**path, **environment.get("env_vars", {})}
        with same_interpreter(self.address is None), same_answer_to_sigterm():
            ray.init(
                address=self.address or "local",
                num_cpus=self.num_cpus,
                runtime_env=environment,
                include_dashboard=False if self.address is None else None,
                configure_logging=False,
            )
        if self.address is None:
            self._held = {**held_by_trackers(), **held}


def _run_on_node(
    packed: bytes,
    run_id: str,
    mark: Path | None,
    receiver: Any,
    patience: float | None,
    *,
    held: Mapping[str, str | None],
) -> bytes:
    """Run an attempt; `mark` is a file of the driver's, which its own folder alone has."""
    give_environment_back(held)
    with woken_by_cancel():
        return _run_in_time(packed, run_id, mark, receiver, patience)


def _run_in_time(
    packed: bytes, run_id: str, mark: Path | None, receiver: Any, patience: float | None
) -> bytes:
    if patience is None:
        return _run_here(packed, run_id, mark, receiver)
    # For a step that does not heed its timeout; unlike a thread, it needs no lock of Python's.
    faulthandler.dump_traceback_later(patience, exit=True)
    try:
        return _run_here(packed, run_id, mark, receiver)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _run_here(packed: bytes, run_id: str, mark: Path | None, receiver: Any) -> bytes:
    if mark is not None and mark.exists():
        return run_packed(packed, has_own_files=True)
    if receiver is None:
        return _UNSEEN
    import ray

    node = ray.get_runtime_context().get_node_id()
    shipped = partial(shipped_journal, run_id, node, partial(_call, receiver))
    return run_packed(packed, shipped, has_own_files=True)


def _ship_what_is_left(run_id: str, node: str, receiver: Any) -> bool:
    return ship_what_is_left(run_id, node, partial(_call, receiver))


def _call(receiver: Any, method: str, *values: Any) -> Any:
    """Call a method of the driver's receiver, and wait for its answer."""
    import ray

    return ray.get(getattr(receiver, method).remote(*values), timeout=_PATIENCE)


def _on_node(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _asked_for(job: Job) -> dict[str, Any]:
    asked = dict(job.resources)
    options = {name: asked.pop(name) for name in _OWN if name in asked}
    return {**options, "resources": asked, "name": job.run.name}
