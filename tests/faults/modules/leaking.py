"""A tracker that gives its secret away wherever it can."""

from __future__ import annotations

import sys
from typing import ClassVar

from trackyard.contract import Capabilities, RetryLater, Secret, flavor, hookimpl, secret


@flavor
class Leaking:
    """Show the token in the URL, in errors and on the standard output."""

    token: Secret | None = secret(help="Token.")

    capabilities: ClassVar[Capabilities] = Capabilities(shared_runs=True)

    @hookimpl
    def tracker_start_run(self, run):
        (run.folder / "id").write_text(run.id)

    @hookimpl
    def tracker_url(self, run):
        return f"https://user:{self.token.reveal()}@host/{run.id}?key={self.token.reveal()}"

    @hookimpl
    def tracker_log(self, run, batch):
        if batch.metrics or batch.params:
            raise RuntimeError(f"401 for {self.token.reveal()}")

    @hookimpl
    def tracker_fail_run(self, run, failure):
        raise RetryLater(f"cannot log in with {self.token.reveal()}: {sys.argv}")
