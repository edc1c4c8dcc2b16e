"""Two flavors that need no SDK: what a tracker was given lies in a file for each run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trackyard import Artifact, Metric, Param, RejectedRecords, Tag, flavor, hookimpl


@flavor
class Ledger:
    """Keep each run in a file of JSON; a metric that is called `refused` is refused."""

    directory: str  # as it is written, so that a project that was moved has it beside it
    is_open: str | None = None  # a file; while it is not there nobody answers

    @hookimpl
    def tracker_start_run(self, run):
        if self.is_open and not Path(self.is_open).exists():
            raise ConnectionRefusedError("nobody answers")
        kept = self.kept(run) | {"name": run.name, "experiment": run.experiment}
        kept["tags"] |= {**run.tags, **run.identity_tags}
        self.keep(run, kept)

    @hookimpl
    def tracker_url(self, run):
        return f"https://ledger.example/{run.id}"

    @hookimpl
    def tracker_log(self, run, batch):
        refused = [metric for metric in batch.metrics if metric.key == "refused"]
        if refused:
            raise RejectedRecords(refused, "it is refused")
        kept = self.kept(run)
        points = [[m.key, str(m.value), m.step, m.timestamp] for m in batch.metrics]
        kept["metrics"] += points
        kept["params"] |= {param.key: param.value for param in batch.params}
        kept["tags"] |= {tag.key: tag.value for tag in batch.tags}
        for artifact in batch.artifacts:
            about = {"kind": artifact.kind, "media_type": artifact.media_type}
            about |= {"step": artifact.step, "content": artifact.path.read_bytes().hex()}
            kept["artifacts"][artifact.name] = about
        self.keep(run, kept)

    @hookimpl
    def tracker_end_run(self, run):
        self.end(run, "finished", "")

    @hookimpl
    def tracker_fail_run(self, run, failure):
        self.end(run, failure.status, str(failure))

    @hookimpl
    def tracker_read_run(self, run):
        kept = self.kept(run)
        for key, value, step, timestamp in kept["metrics"]:
            yield Metric(key, float(value), step, timestamp)
        yield from (Param(key, value) for key, value in kept["params"].items())
        yield from (Tag(key, value) for key, value in kept["tags"].items())
        for index, (name, about) in enumerate(kept["artifacts"].items()):
            path = run.folder / f"read-{index}"
            path.write_bytes(bytes.fromhex(about.pop("content")))
            yield Artifact(name, path, **about)

    def end(self, run, status: str, error: str) -> None:
        kept = self.kept(run)
        kept["tags"]["trackyard.status"] = status
        self.keep(run, kept | {"status": status, "error": error})

    def file(self, run) -> Path:
        return Path(self.directory) / f"{run.id}.json"

    def kept(self, run) -> dict[str, Any]:
        file = self.file(run)
        if file.exists():
            return json.loads(file.read_text(encoding="utf-8"))
        return {"metrics": [], "params": {}, "tags": {}, "artifacts": {}}

    def keep(self, run, kept: dict[str, Any]) -> None:
        self.file(run).parent.mkdir(exist_ok=True)
        self.file(run).write_text(json.dumps(kept, indent=1), encoding="utf-8")


@flavor
class Keeper(Ledger):
    """Keep runs offline until `trackyard sync` uploads them."""

    is_offline = True

    @hookimpl
    def tracker_url(self, run):
        return f"https://ledger.example/{run.id}" if self.kept(run).get("uploaded") else None

    @hookimpl
    def tracker_sync_run(self, run):
        self.keep(run, self.kept(run) | {"uploaded": True})
