"""A flavor that writes every call of its hooks to a file, for tests to read."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import attrs

from trackyard.contract import Capabilities, Secret, flavor, hookimpl, secret


@flavor
class Recorder:
    """Write each call of a hook to a file."""

    directory: Path = attrs.field(default="calls", converter=Path)
    tags: list[str] = attrs.field(factory=list)
    label: str = ""
    options: dict[str, str] = attrs.field(factory=dict)
    token: Secret | None = secret(help="Not used.")

    capabilities: ClassVar[Capabilities] = Capabilities()

    @hookimpl
    def tracker_start_run(self, run):
        own = {"own_tags": self.tags, "label": self.label, "options": self.options}
        self.note("start", run, tags=dict(run.tags), **own)

    @hookimpl
    def tracker_url(self, run):
        return f"https://tracker.test/{run.experiment}/{run.id}"

    @hookimpl
    def tracker_activate_run(self, run):
        return self.active(run)

    @hookimpl
    def tracker_log(self, run, batch):
        self.note(
            "log",
            run,
            range=[batch.first_sequence, batch.last_sequence],
            metrics=[[m.key, m.value, m.step] for m in batch.metrics],
            params=[[p.key, p.value] for p in batch.params],
            tags=[[t.key, t.value] for t in batch.tags],
            artifacts=[
                [a.name, a.kind, a.media_type, a.step, a.path.read_bytes().decode("latin-1")]
                for a in batch.artifacts
            ],
        )

    @hookimpl
    def tracker_end_run(self, run):
        self.note("end", run)

    @hookimpl
    def tracker_fail_run(self, run, failure):
        self.note("fail", run, failure=attrs.asdict(failure))

    @property
    def calls_file(self):
        return self.directory / "calls.jsonl"

    def note(self, hook, run, **more):
        self.directory.mkdir(parents=True, exist_ok=True)
        call = {"hook": hook, "id": run.id, "name": run.name, "step": run.step, **more}
        call |= {"attempt": run.attempt, "group": run.group, "parent": run.parent_id}
        call |= {"process": os.getpid(), "attached": run.attached}
        line = json.dumps(call).encode() + b"\n"
        with self.calls_file.open("ab", buffering=0) as file:  # whole, though a kill follows
            file.write(line)

    @contextmanager
    def active(self, run):
        yield f"native {run.name}"
