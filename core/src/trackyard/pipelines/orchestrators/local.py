"""How are steps run one after the other, in this process?"""

from __future__ import annotations

from typing import ClassVar

import attrs

from trackyard.contract.orchestrators import Job, Outcome


@attrs.frozen
class LocalOrchestrator:
    """Runs the steps in this process, in the order in which the pipeline calls them."""

    places: ClassVar[int] = 1
    is_elsewhere: ClassVar[bool] = False

    def run(self, job: Job) -> Outcome:
        """Run an attempt here."""
        return job.run_here()

    def stop(self) -> None:
        """Nothing: what ends the whole run has ended the only step."""

    def close(self) -> None:
        """Nothing is left open."""
