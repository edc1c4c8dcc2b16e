"""What does one see while a pipeline runs?"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TextIO

import attrs

from trackyard.delivery.reports import TrackerReport
from trackyard.pipelines.live import LiveLines
from trackyard.system.notebooks import is_in_notebook
from trackyard.system.showing import last_metric

if TYPE_CHECKING:
    from trackyard.pipelines.notebook_progress import NotebookTable

_MARKS = {"finished": "✓", "failed": "✗", "killed": "✗", "skipped": "–", "running": "▸"}
_COLOURS = {"finished": "32", "failed": "31", "killed": "31", "skipped": "33", "running": "36"}


class Progress:
    """Writes a line when a step starts and one when it ends, to stderr.

    On a terminal a step has one line, which shows how long it runs and its last metric, and its
    URLs below; in a notebook all steps stand in one table, which changes.
    `TRACKYARD_PROGRESS=plain` keeps to plain lines in both, and 0 keeps it silent.

    Args:
        stream: Where the lines go; stderr by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        # Without a terminal there may be no stderr, or a closed one.
        self._stream: TextIO | None = stream or sys.stderr
        wish = os.environ.get("TRACKYARD_PROGRESS", "")
        self._is_silent = wish == "0"
        try:
            is_terminal = self._stream is not None and self._stream.isatty()
        except ValueError:
            is_terminal = False
        self._has_colours = is_terminal and "NO_COLOR" not in os.environ
        self._running: dict[str, _Running] = {}
        self._live: LiveLines | None = None
        can_move = is_terminal and os.environ.get("TERM") != "dumb"
        if self._stream is not None and can_move and wish not in ("0", "plain"):
            self._live = LiveLines(self._stream, self._live_lines)
        is_shown = stream is None and wish not in ("0", "plain") and is_in_notebook()
        self._table: NotebookTable | None = None
        if is_shown:
            from trackyard.pipelines.notebook_progress import NotebookTable

            self._table = NotebookTable()

    def run_started(self, name: str, project: Path) -> None:
        """Say which pipeline run this is, and in which project.

        Args:
            name: Its name.
            project: The project's folder.
        """
        if self._live is not None:
            self._live.start()
        title = f"pipeline run {_plain(name)} in {_plain(str(project))}"
        if self._table is not None:
            self._table.start(title)
            return
        self._write(title)

    def step_starting(self, name: str, attempt: int = 1) -> None:
        """Say that a step waits for its trackers, where one can see it wait.

        Args:
            name: The step's name.
            attempt: 1, and one more for each retry.
        """
        self._running[name] = _Running(_with_attempt(name, attempt), "starting", time.monotonic())
        if self._table is not None:
            self._table.step(name, "starting", began=time.monotonic())

    def step_started(
        self,
        name: str,
        attempt: int,
        urls: Mapping[str, str],
        metrics: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Say that a step runs, and where it can be watched.

        Args:
            name: The step.
            attempt: Which of its attempts.
            urls: Its addresses, by tracker.
            metrics: The last value of each metric, which changes while the step runs.
        """
        shown = _with_attempt(name, attempt)
        links = tuple(map(_plain, urls.values()))
        self._running[name] = _Running(shown, "running", time.monotonic(), metrics, links)
        if self._table is not None:
            note = f"attempt {attempt}" if attempt > 1 else ""
            url = next(iter(urls.values()), None)
            self._table.step(name, "running", metrics=metrics, url=url, note=note)
        elif self._live is None:
            self._step("running", shown, "".join(f"  {link}" for link in links))

    def step_ended(
        self, name: str, status: str, seconds: float | None, metrics: Mapping[str, float], note: str
    ) -> None:
        """Say how a step ended, with the metric that was logged last.

        Args:
            name: The step's name.
            status: How it ended.
            seconds: How long it took, or None where it was not run.
            metrics: The last value of each metric.
            note: What went wrong or where a result is from, or an empty text.
        """
        running = self._running.pop(name, None)
        if self._table is not None:
            known = {"metrics": dict(metrics)} if metrics else {}
            self._table.step(name, status, seconds=seconds, note=_plain(note), **known)
            return
        took = "" if seconds is None else f"  {seconds:.1f} s"
        told = f"  {_plain(note)}" if note else ""
        self._step(status, name, f"{took}{_last(metrics)}{told}")
        if self._live is not None and running is not None:
            for link in running.links:
                self._write(f"    {link}")

    def run_ended(self, name: str, status: str, seconds: float) -> None:
        """Say how the pipeline run ended.

        Args:
            name: The pipeline run's name.
            status: How it ended.
            seconds: How long it took.
        """
        if self._live is not None:
            self._live.stop()
        if self._table is not None:
            self._table.end(f"pipeline run {_plain(name)}: {status}, {seconds:.1f} s")
            return
        self._step(status, _plain(name), f"  {seconds:.1f} s")

    def trackers_ended(self, reports: Iterable[TrackerReport]) -> None:
        """Say what each tracker has got, and what it has not."""
        reports = [*reports]
        if not reports:
            return
        from trackyard.runs.health import health_lines, joined

        for text in health_lines(joined(reports)):
            self._write(f"    {text}")

    def outputs_ended(self, url: str, waiting: Sequence[object]) -> None:
        """Say how many outputs the artifact store does not have yet.

        Args:
            url: The artifact store.
            waiting: What waits on this machine.
        """
        if waiting:
            self._write(f"    {len(waiting)} output(s) wait for {_plain(url)}: trackyard sync")

    def _live_lines(self, width: int) -> list[str]:
        now, lines = time.monotonic(), []
        for step in list(self._running.values()):
            rest = f" {step.name} {step.status}  {now - step.began:.1f} s{_last(step.metrics)}"
            lines.append("  " + self._mark("running") + rest[: width - 3])
            lines += [f"    {link}"[:width] for link in step.links]
        return lines

    def _step(self, status: str, name: str, rest: str) -> None:
        self._write(f"  {self._mark(status)} {_plain(name)} {status}{rest}")

    def _mark(self, status: str) -> str:
        mark = _MARKS.get(status, "·")
        return f"\x1b[{_COLOURS.get(status, '0')}m{mark}\x1b[0m" if self._has_colours else mark

    def _write(self, line: str) -> None:
        if self._is_silent:
            return
        if self._table is not None:
            self._table.write(line)
            return
        if self._stream is None:
            return
        try:
            if self._live is not None:
                self._live.write(line + "\n")
            else:
                self._stream.write(line + "\n")
                self._stream.flush()
        except (OSError, ValueError, UnicodeEncodeError):
            # A closed or narrow terminal must not fail a training run.
            self._is_silent = True


@attrs.frozen
class _Running:
    """A step that runs: what its line shows."""

    name: str
    status: str
    began: float
    metrics: Mapping[str, float] = attrs.field(factory=dict)
    links: tuple[str, ...] = ()


def _with_attempt(name: str, attempt: int) -> str:
    return _plain(f"{name} (attempt {attempt})" if attempt > 1 else name)


def _last(metrics: Mapping[str, float]) -> str:
    shown = last_metric(metrics)
    return f"  {_plain(shown)}" if shown else ""


def _plain(text: str) -> str:
    """Remove control characters: a name must not move the cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
