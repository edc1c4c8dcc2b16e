"""What does an orchestrator get, and what does it give?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs

from trackyard.pipelines.attempts import Attempt, Outcome


@attrs.frozen(eq=False)
class Job:
    """One attempt of a step, to be run once, wherever the orchestrator wants.

    Attributes:
        attempt: The attempt, with the resources that its step asks for.
        run_here: Runs it in this process and thread.
        pack: Makes the bytes that `trackyard.pipelines.parcels.run_packed` runs in another
            process, which gives bytes for `unpack_outcome`.
        folder: The run's folder.
    """

    attempt: Attempt
    run_here: Callable[[], Outcome]
    pack: Callable[[], bytes]
    folder: Path


class Orchestrator(Protocol):
    """Decides where attempts run. An attrs class; its fields are keys of the stack's table.

    Which step runs when, retries, trackers and the store are the driver's.

    Attributes:
        places: How many attempts may run at once; with 1 each is run from the main thread.
        is_elsewhere: Attempts run in other processes.
    """

    @property
    def places(self) -> int: ...

    @property
    def is_elsewhere(self) -> bool: ...

    def run(self, job: Job) -> Outcome:
        """Run an attempt and wait for it; called from up to `places` threads at once.

        Raises:
            StepCrashedError: The process or machine that ran it has died; its `lost` counts the
                log calls that are gone with it.
        """

    # Optional: `check_resources(resources)`, called for each step before anything runs, raises a
    # `ConfigError` about what the step asks for by `@step(resources={...})`.

    def stop(self) -> None:
        """End what runs, so that `run` returns soon: the pipeline run is cancelled."""

    def close(self) -> None:
        """End what was started for this pipeline run."""
