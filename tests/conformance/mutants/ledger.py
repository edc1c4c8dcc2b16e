"""A correct flavor on files: the twin of every mutant beside it.

A run is a file of JSON lines: what comes again takes the place of what was there.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
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
    Capture,
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
    def tracker_activate_run(self, run: Run, capture: Capture | None) -> Any:
        return self.active(run, capture)

    @hookimpl
    def tracker_delete_run(self, run: Run) -> None:
        self.greet(run)
        self.path(run).unlink(missing_ok=True)
        shutil.rmtree(self.directory / run.id, ignore_errors=True)

    @hookimpl
    def tracker_sync_run(self, run: Run) -> None:
        self.greet(run)

    @hookimpl
    def tracker_check(self) -> list[str]:
        try:
            self.ask(5.0)
        except OSError as error:
            return [f"{self.server}: {error}"]
        return []

    @hookimpl
    def tracker_ui_command(self, host: str, port: int | None) -> list[str]:
        command = [sys.executable, "-m", "http.server", "--bind", host]
        return [*command, "--directory", str(self.directory), str(port or 8000)]

    @hookimpl
    def tracker_read_run(self, run: Run) -> Iterator[Record]:
        found: dict[tuple[Any, ...], Record] = {}
        for number, line in enumerate(self.path(run).read_text(encoding="utf-8").splitlines()):
            try:
                kind, key, *rest = json.loads(line)
            except ValueError:  # a write that failed in its middle, which was sent again
                continue
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
        try:
            self.ask(run.deadline / 2)
        except urllib.error.HTTPError as error:
            error.close()
            raise RetryLater(str(error)) from None
        except OSError as error:
            raise RetryLater(str(error)) from error
        except Exception as error:  # half an answer is http.client's own error
            raise ConnectionError(str(error)) from error

    def ask(self, timeout: float) -> None:
        """Send the server a request, where there is one."""
        if self.server is not None:
            with urllib.request.urlopen(self.server, timeout=timeout) as answer:
                answer.read()

    def write(self, run: Run, *lines: tuple[Any, ...]) -> None:
        with self.path(run).open("a", encoding="utf-8") as file:
            file.writelines(f"\n{json.dumps(line)}\n" for line in lines)

    def kept(self, run: Run, batch: Batch) -> Iterator[tuple[Any, ...]]:
        for artifact in batch.artifacts:
            target = self.directory / run.id / artifact.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(artifact.path.read_bytes())
            yield "artifact", artifact.name, str(target)

    def end(self, run: Run, status: str) -> None:
        self.write(run, ("tag", "trackyard.status", status))

    @contextmanager
    def active(self, run: Run, capture: Capture | None) -> Iterator[None]:
        """Let `log_natively`, the SDK of this flavor, find the run."""
        CAPTURES.append(capture)
        try:
            with process_values({"LEDGER_RUN": str(self.path(run))}, patience=1.0):
                yield
        finally:
            CAPTURES.remove(capture)


# What the SDK's own calls are told to.
CAPTURES: list[Capture | None] = []


def log_natively(key: str, value: float) -> None:
    """Log as the users of the ledger's own SDK do."""
    path = Path(os.environ["LEDGER_RUN"])
    path.parent.mkdir(parents=True, exist_ok=True)
    timestamp = time.time_ns()
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(("metric", key, value, None, timestamp)) + "\n")
    for capture in filter(None, CAPTURES[-1:]):
        capture([Metric(key, value, None, timestamp)])
