"""What does one see in a notebook while a pipeline runs?"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from threading import Lock, Thread
from typing import Any

import attrs

from trackyard.system.conditions import Event
from trackyard.system.notebooks import Board
from trackyard.system.showing import Link, escaped, html_table, last_metric

# Seconds between two drawings while steps run.
_PERIOD = 1.0


@attrs.define
class _Row:
    """A step as the table shows it."""

    name: str
    status: str = "starting"
    began: float = attrs.field(factory=time.monotonic)
    seconds: float | None = None
    metrics: Mapping[str, float] = attrs.field(factory=dict)
    url: str | None = None
    note: str = ""


class NotebookTable:
    """One table for a pipeline run, in the place of lines on stderr, which would be red."""

    def __init__(self) -> None:
        self._board = Board()
        self._process = os.getpid()
        self._title = ""
        self._rows: dict[str, _Row] = {}
        self._below: list[str] = []
        self._lock = Lock()
        self._ended = Event()

    def start(self, title: str) -> None:
        """Show the table until `end`.

        Args:
            title: What stands above it.
        """
        self._title = title
        self._draw()
        Thread(target=self._draw_often, name="trackyard-progress", daemon=True).start()

    def step(self, name: str, status: str, **values: Any) -> None:
        """Show how a step stands.

        Args:
            name: The step.
            status: Its status.
            **values: What else changes of its row.
        """
        with self._lock:
            row = self._rows.get(name) or _Row(name)
            self._rows[name] = attrs.evolve(row, status=status, **values)
        self._draw()

    def end(self, title: str) -> None:
        """Say how it ended.

        Args:
            title: What stands above the table from now on.
        """
        self._ended.set()
        self._title = title
        self._draw()

    def write(self, text: str) -> None:
        """Write a line below the table.

        Args:
            text: The line.
        """
        self._below.append(text.strip())
        self._draw()

    def _draw_often(self) -> None:
        while not self._ended.wait(_PERIOD):
            self._draw()

    def _draw(self) -> None:
        if os.getpid() != self._process:  # a child has no kernel of its own
            return
        try:
            with self._lock:
                rows = [_cells(row) for row in self._rows.values()]
                title = f"<p>{escaped(self._title)}</p>"
                table = html_table(("", "step", "status", "seconds", "last", ""), rows)
                below = "<br>".join(map(escaped, self._below))
                self._board.show(f"{title}{table}<p>{below}</p>" if below else title + table)
        except Exception:  # whatever a front end raises must not fail a training run
            self._ended.set()


def _cells(row: _Row) -> tuple[str, ...]:
    marks = {"finished": "✓", "failed": "✗", "killed": "✗", "skipped": "–", "running": "▸"}
    is_over = row.status not in ("starting", "running")
    seconds = row.seconds if is_over else time.monotonic() - row.began
    last = last_metric(row.metrics)
    took = "" if seconds is None else f"{seconds:.1f}"
    name = Link(row.name, row.url)
    return marks.get(row.status, "·"), name, row.status, took, last, row.note
