"""A flavor whose SDK keeps each run on this machine until it is uploaded."""

from __future__ import annotations

from pathlib import Path

from recorder import Recorder

from trackyard.contract import RetryLater, flavor, hookimpl


@flavor
class Keeper(Recorder):
    """Keep runs offline; where there is a file `refused` the server takes none."""

    is_offline = True

    @hookimpl
    def tracker_url(self, run):
        return f"https://tracker.test/{run.id}" if self.uploaded(run) else None

    @hookimpl
    def tracker_sync_run(self, run):
        if Path("refused").exists():
            raise RetryLater("the server is away")
        self.note("sync", run)
        (run.folder / "uploaded").touch()

    def uploaded(self, run):
        return (run.folder / "uploaded").exists()
