"""What does one see while a pipeline runs?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

from trackyard.delivery.delivery import TrackerReport
from trackyard.health import health_lines, joined

_MARKS = {"finished": "✓", "failed": "✗", "killed": "✗", "skipped": "–", "running": "▸"}
_COLOURS = {"finished": "32", "failed": "31", "killed": "31", "skipped": "33", "running": "36"}


class Progress:
    """Writes a line when a step starts and one when it ends, to stderr.

    `TRACKYARD_PROGRESS=0` keeps it silent. On a terminal the marks have colours.

    Args:
        stream: Where the lines go; stderr by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        # Without a terminal there may be no stderr, or a closed one.
        self._stream: TextIO | None = stream or sys.stderr
        self._is_silent = os.environ.get("TRACKYARD_PROGRESS", "") == "0"
        try:
            is_terminal = self._stream is not None and self._stream.isatty()
        except ValueError:
            is_terminal = False
        self._has_colours = is_terminal and "NO_COLOR" not in os.environ

    def run_started(self, name: str) -> None:
        """Say which pipeline run this is."""
        self._write(f"pipeline run {_plain(name)}")

    def step_started(self, name: str, attempt: int, urls: Mapping[str, str]) -> None:
        """Say that a step runs, and where it can be watched."""
        again = f" (attempt {attempt})" if attempt > 1 else ""
        where = "".join(f"  {_plain(url)}" for url in urls.values())
        self._step("running", name + again, where)

    def step_ended(
        self, name: str, status: str, seconds: float | None, metrics: Mapping[str, float], note: str
    ) -> None:
        """Say how a step ended, with the metric that was logged last."""
        took = "" if seconds is None else f"  {seconds:.1f} s"
        last = list(metrics.items())[-1:]
        metric = "".join(f"  {_plain(key)}={value:.4g}" for key, value in last)
        self._step(status, name, f"{took}{metric}{f'  {_plain(note)}' if note else ''}")

    def run_ended(self, name: str, status: str, seconds: float) -> None:
        """Say how the pipeline run ended."""
        self._step(status, _plain(name), f"  {seconds:.1f} s")

    def trackers_ended(self, reports: Iterable[TrackerReport]) -> None:
        """Say what each tracker has got, and what it has not."""
        for text in health_lines(joined(reports)):
            self._write(f"    {text}")

    def _step(self, status: str, name: str, rest: str) -> None:
        mark = _MARKS.get(status, "·")
        if self._has_colours:
            mark = f"\x1b[{_COLOURS.get(status, '0')}m{mark}\x1b[0m"
        self._write(f"  {mark} {_plain(name)} {status}{rest}")

    def _write(self, line: str) -> None:
        if self._is_silent or self._stream is None:
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError, UnicodeEncodeError):
            # A closed or narrow terminal must not fail a training run.
            self._is_silent = True


def _plain(text: str) -> str:
    """Remove control characters: a name must not move the cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)
