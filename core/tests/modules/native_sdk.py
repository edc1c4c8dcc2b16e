"""An experiment tracker with an SDK of its own, whose calls its flavor captures."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from recorder import Recorder

from trackyard import hookimpl
from trackyard.contract import Capabilities, Metric, flavor

_active: list[tuple[Path, object]] = []
_alone: list[Path] = []


def folders_alone():
    """Give the folders of the runs that it serves as a source alone."""
    return [*_alone]


def log(*records, position="", remote_id=None):
    """The SDK's own call: it writes to its own file first."""
    file, capture = _active[-1]
    with file.open("a") as lines:
        lines.write(json.dumps([repr(record) for record in records]) + "\n")
    if capture is not None:
        capture(records, position, remote_id)


@flavor
class NativeTracker(Recorder):
    """What the SDK logs is in `native.jsonl`; its run has an id that the file `remote` says."""

    capabilities: ClassVar[Capabilities] = Capabilities(shared_runs=True)

    @hookimpl
    @contextmanager
    def tracker_activate_run(self, run, capture):
        _active.append((run.folder / "native.jsonl", capture))
        try:
            yield
        finally:
            _active.pop()

    @hookimpl
    @contextmanager
    def tracker_capture_alone(self, run):
        _alone.append(run.folder)
        try:
            yield
        finally:
            _alone.pop()

    @hookimpl
    def tracker_command_variables(self, run):
        return {"NATIVE_RUN": run.id}

    @hookimpl
    def tracker_remote_id(self, run):
        return os.environ.get("NATIVE_REMOTE_ID")


@flavor
class OtherNativeTracker(NativeTracker):
    """Another SDK, which the step may call as well."""


@flavor
class FilingTracker(Recorder):
    """Its SDK writes to a file alone, which the flavor reads."""

    capabilities: ClassVar[Capabilities] = Capabilities(shared_runs=True)

    @hookimpl
    @contextmanager
    def tracker_activate_run(self, run, capture):
        _files.append(run.folder / "rows.txt")
        _captures.append(capture)
        try:
            yield
        finally:
            _captures.pop()
            _files.pop()

    @hookimpl
    def tracker_capture_alone(self, run):
        pass

    @hookimpl
    def tracker_read_native(self, run, position):
        file = run.folder / "rows.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        done = int(position or 0)
        records = [Metric(*json.loads(line)) for line in lines[done:]]
        return records, str(len(lines))


def log_to_file(key, value, step):
    """The SDK's own call."""
    with _files[-1].open("a") as lines:
        lines.write(json.dumps([key, value, step, 1_790_000_000_000_000_000 + step]) + "\n")


@contextmanager
def another_run(name):
    """A further run of the SDK's, with a file of its own."""
    child = _captures[-1].start_run(name, lambda folder: _files.append(folder / "rows.txt"))
    try:
        yield
    finally:
        _files.pop()
        child.end_run()


_files: list[Path] = []
_captures: list[object] = []


@flavor
class ReadingTracker(Recorder):
    """It reads files that the user names."""

    @hookimpl
    def tracker_read_files(self, run, files, position):
        lines = files.read_text().splitlines() if files.exists() else []
        done = int(position or 0)
        records = [Metric(*json.loads(line)) for line in lines[done:]]
        return records, str(len(lines))
