"""A backend of others: a folder with a JSON file for each run, which a flavor lists and reads."""

from __future__ import annotations

import json
from pathlib import Path

from trackyard import hookimpl
from trackyard.contract import (
    Artifact,
    Context,
    Failure,
    ImportNote,
    Metric,
    Param,
    RemoteRun,
    RunQuery,
    Tag,
    flavor,
    inside,
)


@flavor
class Foreign:
    """Read runs from JSON files."""

    folder: Path = Path("foreign")

    @hookimpl
    def tracker_list_runs(self, query: RunQuery):
        self._root = Path(query.place or self.folder)
        for path in sorted(self._root.glob("*.json")):
            values = json.loads(path.read_text())
            known = {k: v for k, v in values.get("run", {}).items() if k != "failure"}
            failure = values.get("run", {}).get("failure")
            run = RemoteRun(path.stem, failure=Failure(*failure) if failure else None, **known)
            if query.fits(run):
                yield run

    @hookimpl
    def tracker_read_run(self, run, remote_id):
        values = json.loads((self._root / f"{remote_id}.json").read_text())
        for key, value in values.get("tags", {}).items():
            yield Tag(key, value)
        if "context" in values:
            yield Context(**values["context"])
        for key, value in values.get("params", {}).items():
            yield Param(key, value)
        for key, points in values.get("metrics", {}).items():
            for step, value in enumerate(points):
                moment = values.get("moment", 1_700_000_000_000_000_000)
                yield Metric(key, float(value), step, moment + step)
        for name, place in values.get("artifacts", {}).items():
            path = inside(self._root, Path(place))
            yield (
                Artifact(name, path, "file") if path else ImportNote(f"artifact {name}: elsewhere")
            )
        if values.get("raises"):
            raise ValueError(values["raises"])
        if "late" in values:
            yield RemoteRun(remote_id, **values["late"])


def write(root: Path, remote_id: str, **values) -> Path:
    root.mkdir(exist_ok=True)
    path = root / f"{remote_id}.json"
    path.write_text(json.dumps(values))
    return path
