"""What does an orchestrator get, and what does it give?"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, ClassVar, Literal, Protocol

import attrs

from trackyard.contract.materializers import StoredOutput
from trackyard.contract.records import Failure, Run

# Seconds that a step which is told to stop, or whose timeout is over, may take to end by itself.
GRACE = 5.0


@attrs.frozen(eq=False)
class Outcome:
    """What came of an attempt. An orchestrator passes it on as it is.

    Attributes:
        outputs: Where the outputs lie, by name.
        metrics: The last value of each metric that was logged portably.
        failure: How it ended, or None where it finished.
        error: What it raised, or None.
        lost: About how many log calls are lost of which the run's journal does not say so.
        seconds: How long the step took where it ran, its inputs and outputs included; None where
            that is not known.
        output_metadata: What the step says of its outputs, by name and key, as JSON has it.
    """

    outputs: Mapping[str, StoredOutput] = attrs.field(factory=dict)
    metrics: Mapping[str, float] = attrs.field(factory=dict)
    failure: Failure | None = None
    error: BaseException | None = None
    lost: int = 0
    seconds: float | None = None
    output_metadata: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class Job:
    """One attempt of a step, to be run once, wherever the orchestrator wants.

    Attributes:
        run: The attempt as trackers know it: its `id`, its `name`, its `group`, which is the
            pipeline run's id.
        timeout: Seconds that the step may take, or None. Where it runs it is interrupted then.
        resources: What the step asks of a cluster, such as `{"num_gpus": 1}`.
        folder: The run's folder.
        mark: A file that the driver's project alone has: a machine that finds it sees `folder`.
        run_here: Runs it in this process and thread.
        pack: Makes the bytes that `run_packed` runs in another process. Raises `PipelineError`
            where something cannot be moved there.
        unpack: Makes an outcome of the bytes that `run_packed` gave.
        keep_printed: Keeps what a process has printed that the orchestrator started: where to
            (`out` or `err`), and the text. For one that reads its stdout and stderr; such a process
            calls `run_packed` with `is_relayed=True`, or it keeps what goes through its
            `sys.stdout` and `sys.stderr` by itself, with `has_own_files=True` all that goes to its
            descriptors.
    """

    run: Run
    timeout: float | None
    resources: Mapping[str, Any]
    folder: Path
    mark: Path
    run_here: Callable[[], Outcome]
    pack: Callable[[], bytes]
    unpack: Callable[[bytes], Outcome]
    keep_printed: Callable[[Literal["out", "err"], str], None] = lambda _stream, _text: None

    @property
    def patience(self) -> float | None:
        """Seconds to wait for it at most: a step that does not heed its timeout is ended then."""
        return None if self.timeout is None else self.timeout + GRACE


class Orchestrator(Protocol):
    """Decides where attempts run. An attrs class; its fields are keys of the stack's table.

    One instance serves one pipeline run. Which step runs when, retries, trackers and the store are
    the driver's.

    Optional: `check_resources(resources)`, called for each step before anything runs, raises a
    `ConfigError` about what the step asks for by `@step(resources={...})`. An attribute
    `max_retries` says how often a step that crashed is tried again, beside the step's own retries.

    Attributes:
        places: How many attempts may run at once; with 1 each is run from the main thread, unless
            they run elsewhere.
        is_elsewhere: Attempts run in other processes.
    """

    @property
    def places(self) -> int: ...

    @property
    def is_elsewhere(self) -> bool: ...

    def run(self, job: Job) -> Outcome:
        """Run an attempt and wait for it; called from up to `places` threads at once.

        An outcome that the orchestrator makes itself has an `error` and no `failure`: that is the
        same as raising it.

        Raises:
            StepCrashedError: The process or machine that ran it has died, or had to be ended; its
                `lost` counts the log calls that are gone with it.
        """

    def stop(self) -> None:
        """End what runs, so that each `run` returns soon: the pipeline run is cancelled.

        A step is told to stop by SIGTERM, and ended where it takes longer than a few seconds.
        """

    def close(self) -> None:
        """End what was started for this pipeline run, which may be nothing."""


@attrs.define(eq=False, kw_only=True)
class SubprocessOrchestrator:
    """What an orchestrator need not write whose steps run in processes that it starts.

    A subclass is an attrs class with `places` and `run`, which starts or takes a process and waits
    for it by `wait_for`: then timeouts and `stop` are kept.
    """

    is_elsewhere: ClassVar[bool] = True
    _stopping: Event = attrs.field(init=False, factory=Event)

    def wait_for(self, job: Job, process: int, is_over: Callable[[], bool]) -> None:
        """Wait until a step is over; tell it to end, and end it, where the contract says so.

        It is told where the pipeline run is stopped, or where it does not heed its timeout.

        Args:
            job: The attempt that the process runs.
            process: The process's number. It leads a session of its own, as
                `Popen(start_new_session=True)` and `os.setsid()` have it, so that what it started
                is ended with it.
            is_over: Tells whether its outcome is there, or it has died.

        """
        end = time.monotonic() + (3e7 if job.patience is None else job.patience)
        while not is_over() and time.monotonic() < end and not self._stopping.wait(0.02):
            pass
        for number in (signal.SIGTERM, signal.SIGKILL):
            if is_over():
                return
            with suppress(ProcessLookupError):
                os.killpg(process, number)
            end = time.monotonic() + GRACE
            while not is_over() and time.monotonic() < end:
                time.sleep(0.02)

    def stop(self) -> None:
        """Have each `wait_for` end what it waits for."""
        self._stopping.set()

    def close(self) -> None:
        """End nothing: each process ended with its step."""
