"""A flavor that keeps each run in a file and can read it back."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event
from typing import ClassVar

import attrs

from trackyard.contract import (
    Artifact,
    Capabilities,
    Metric,
    Param,
    RejectedRecords,
    Tag,
    flavor,
    hookimpl,
)


@flavor
class Filing:
    """Keep each run in a file of JSON; a metric that is called `bad` is refused."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        key_pattern="[a-z._]+", param_length=10, step_rule="integer", kinds=frozenset({"file"})
    )

    directory: Path = attrs.field(default="filed", converter=Path)
    problems: list[str] = attrs.field(factory=list)

    @hookimpl
    def tracker_start_run(self, run):
        kept = self.kept(run)
        kept["tags"] |= {**run.tags, **run.identity_tags}
        self.keep(run, kept)

    @hookimpl
    def tracker_url(self, run):
        return f"https://filed.test/{run.id}"

    @hookimpl
    def tracker_log(self, run, batch):
        bad = [metric for metric in batch.metrics if metric.key == "bad"]
        if bad:
            raise RejectedRecords(bad, "no bad ones")
        kept = self.kept(run)
        points = [[m.key, m.value, m.step, m.timestamp] for m in batch.metrics]
        kept["metrics"] += [point for point in points if point not in kept["metrics"]]
        kept["params"] |= {p.key: str(p.value) for p in batch.params}
        kept["tags"] |= {t.key: t.value for t in batch.tags}
        kept["artifacts"] |= {a.name: a.path.read_bytes().hex() for a in batch.artifacts}
        self.keep(run, kept)

    @hookimpl
    def tracker_end_run(self, run):
        self.end(run, "finished")

    @hookimpl
    def tracker_fail_run(self, run, failure):
        self.end(run, failure.status)

    @hookimpl
    def tracker_read_run(self, run):
        kept = json.loads(self.file(run).read_text())
        yield from (Metric(*point) for point in kept["metrics"])
        yield from (Param(key, value) for key, value in kept["params"].items())
        yield from (Tag(key, value) for key, value in kept["tags"].items())
        for index, (name, content) in enumerate(kept["artifacts"].items()):
            path = run.folder / f"read-{index}"
            path.write_bytes(bytes.fromhex(content))
            yield Artifact(name, path, "file")

    @hookimpl
    def tracker_check(self):
        return self.problems

    def end(self, run, status):
        kept = self.kept(run)
        kept["tags"]["trackyard.status"] = status
        self.keep(run, kept)

    def file(self, run):
        return self.directory / f"{run.id}.json"

    def kept(self, run):
        if self.file(run).exists():
            return json.loads(self.file(run).read_text())
        return {"metrics": [], "params": {}, "tags": {}, "artifacts": {}}

    def keep(self, run, kept):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.file(run).write_text(json.dumps(kept))


@flavor
class HangingReader(Filing):
    """Never comes back from reading a run."""

    @hookimpl
    def tracker_read_run(self, run):
        (self.directory / "reading").touch()
        Event().wait(600)
