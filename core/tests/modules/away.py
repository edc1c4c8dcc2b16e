"""A flavor whose server is away while a file of that name exists."""

from __future__ import annotations

from pathlib import Path

from recorder import Recorder


class Away(Recorder):
    """Refuses connections while there is a file `away` in the working directory."""

    def note(self, hook, run, **more):
        if Path("away").exists():
            raise ConnectionRefusedError("no server")
        super().note(hook, run, **more)
