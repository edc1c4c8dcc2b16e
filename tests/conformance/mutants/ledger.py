"""A correct flavor on files: the twin of every mutant beside it.

A run is a file of JSON lines: what comes again takes the place of what was there.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from trackyard.contract import (
    Artifact,
    Batch,
    Capabilities,
    Failure,
    Metric,
    Param,
    Record,
    RetryLater,
    Run,
    Secret,
    Tag,
    flavor,
    hookimpl,
    option,
    process_values,
    secret,
)


@flavor
class Ledger:
    """Keep each run in a file of JSON lines."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        param_length=500, tag_length=500, key_length=200, nests=True, shared_runs=True
    )

    directory: Path = option("Folder for the files", converter=Path)
    server: str | None = option("Server that is asked at the start", default=None)
    token: Secret | None = secret(help="Token of the server")

    @hookimpl
    def tracker_start_run(self, run: Run) -> None:
        self.greet(run)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write(run, *(("tag", k, v) for k, v in {**run.tags, **run.identity_tags}.items()))

    @hookimpl
    def tracker_url(self, run: Run) -> str:
        return self.path(run).as_uri()

    @hookimpl
    def tracker_log(self, run: Run, batch: Batch) -> None:
        self.write(
            run,
            *(("metric", m.key, m.value, m.step, m.timestamp) for m in batch.metrics),
            *(("param", param.key, param.value) for param in batch.params),
            *(("tag", tag.key, tag.value) for tag in batch.tags),
            *self.kept(run, batch),
        )

    @hookimpl
    def tracker_end_run(self, run: Run) -> None:
        self.end(run, "finished")

    @hookimpl
    def tracker_fail_run(self, run: Run, failure: Failure) -> None:
        self.end(run, failure.status)

    @hookimpl
    def tracker_activate_run(self, run: Run) -> Any:
        return self.active(run)

    @hookimpl
    def tracker_read_run(self, run: Run) -> Iterator[Record]:
        found: dict[tuple[Any, ...], Record] = {}
        for number, line in enumerate(self.path(run).read_text(encoding="utf-8").splitlines()):
            kind, key, *rest = json.loads(line)
            if kind == "metric":
                value, step, timestamp = rest
                place = self.place(number, key, step, timestamp)
                found[place] = Metric(key, float(value), step, timestamp)
            elif kind == "artifact":
                found[kind, key] = Artifact(key, Path(rest[0]), "file")
            else:
                found[kind, key] = (Param if kind == "param" else Tag)(key, rest[0])
        yield from found.values()

    def place(self, number: int, *point: Any) -> tuple[Any, ...]:
        """Tell by what a point is known: what comes again has the same place."""
        return "metric", *point

    def path(self, run: Run) -> Path:
        return self.directory / f"{run.id}.jsonl"

    def greet(self, run: Run) -> None:
        """Ask the server, where there is one."""
        if self.server is None:
            return
        try:
            with urllib.request.urlopen(self.server, timeout=run.deadline / 2) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            raise RetryLater(str(error)) from None
        except OSError as error:
            raise RetryLater(str(error)) from error
        except Exception as error:  # half an answer is http.client's own error
            raise ConnectionError(str(error)) from error

    def write(self, run: Run, *lines: tuple[Any, ...]) -> None:
        with self.path(run).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def kept(self, run: Run, batch: Batch) -> Iterator[tuple[Any, ...]]:
        for artifact in batch.artifacts:
            target = self.directory / run.id / artifact.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(artifact.path.read_bytes())
            yield "artifact", artifact.name, str(target)

    def end(self, run: Run, status: str) -> None:
        self.write(run, ("tag", "trackyard.status", status))

    @contextmanager
    def active(self, run: Run) -> Iterator[None]:
        """Let `log_natively`, the SDK of this flavor, find the run."""
        with process_values({"LEDGER_RUN": str(self.path(run))}, patience=1.0):
            yield


def log_natively(key: str, value: float) -> None:
    """Log as the users of the ledger's own SDK do."""
    path = Path(os.environ["LEDGER_RUN"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(("metric", key, value, None, 10**18)) + "\n")
