"""The page of a pipeline run: its graph and timeline; and the list of pipelines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from trackyard import Client
from trackyard_page.curves import is_system
from trackyard_page.rendering import Pages, is_part, seconds

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

# The worst one is shown of a step that is called for many items.
_WORST = ("failed", "crashed", "killed", "unreachable", "running", "pending", "skipped",
          "finished", "cached")  # fmt: skip
_BAD = _WORST[:4]
_WIDTH, _ROW, _LABEL = 1240, 22, 190
# Steps that the timeline shows, and calls of one that stand there by themselves; more are one bar.
_ROWS, _BARS = 200, 500


@attrs.frozen
class Node:
    """A step in the graph; the calls for many items of a step that is mapped are one.

    Attributes:
        name: Its name.
        status: How it stands.
        id: Of its run, or nothing where it has none yet.
        seconds: How long it took.
        parts: How many calls it stands for; 0 where it was called once.
        done, failed: How many of those are over, and how many of those have failed.
        waits: What it waits for.
        attempt: Which attempt this is.
        metric: A value that it logged, as text.
    """

    name: str
    status: str
    id: str = ""
    seconds: float | None = None
    parts: int = 0
    done: int = 0
    failed: int = 0
    waits: tuple[str, ...] = ()
    attempt: int = 1
    metric: str = ""

    @property
    def calls(self) -> str:
        """How the calls that it stands for have gone."""
        if not self.parts:
            return ""
        if self.failed:
            return f"{self.failed} of {self.parts} failed"
        is_over = self.done == self.parts
        return f"{self.parts} calls" if is_over else f"{self.done} of {self.parts} calls"


@attrs.frozen
class Bar:
    """A call of a step in the timeline, in units of the drawing."""

    name: str
    status: str
    id: str
    x: float
    width: float


@attrs.frozen
class Row:
    """A step in the timeline; the calls of a step that is mapped stand in one row.

    Attributes:
        name: Its name.
        y: Where it stands, in units of the drawing.
        bars: Its calls.
        label: How long it took.
    """

    name: str
    y: int
    bars: tuple[Bar, ...]
    label: str

    @property
    def end(self) -> float:
        """Where the last of it ends."""
        return max(bar.x + bar.width for bar in self.bars)


def nodes_of(run: Any) -> list[Node]:
    """Give the graph of a pipeline run, with the calls of a mapped step folded into one.

    Args:
        run: The pipeline run.
    """
    steps: dict[str, list[Any]] = {}
    for step in run.steps.values():
        steps.setdefault(step.name.partition("[")[0], []).append(step)
    names = dict.fromkeys((*run.graph, *steps))
    return [_node(name, steps.get(name, []), run) for name in names]


def _node(name: str, steps: list[Any], run: Any) -> Node:
    waits = tuple(of for of in run.graph.get(name, ()) if of != name)
    if not steps:
        status = "pending" if run.status == "running" else "skipped"
        return Node(name, status, waits=waits)
    is_mapped = len(steps) > 1 or "[" in steps[0].name
    status = min((step.status for step in steps), key=_rank)
    chosen = next(step for step in steps if step.status == status)
    starts = [step.started_at for step in steps if step.started_at]
    ends = [step.ended_at or datetime.now(UTC) for step in steps if step.started_at]
    logged = ((key, value) for key, value in chosen.metrics.items() if not is_system(key))
    key, value = next(logged, ("", None))
    return Node(
        name=name,
        status=status,
        id=chosen.id,
        seconds=(max(ends) - min(starts)).total_seconds() if starts else None,
        parts=len(steps) if is_mapped else 0,
        done=sum(1 for step in steps if step.ended_at),
        failed=sum(1 for step in steps if step.status in _BAD) if is_mapped else 0,
        waits=waits,
        attempt=chosen.attempt,
        metric="" if value is None or is_mapped else f"{key} {value:.4g}",
    )


def _rank(status: str) -> int:
    return _WORST.index(status) if status in _WORST else 0


def rows_of(run: Any) -> list[Row]:
    """Give the timeline of a pipeline run.

    Args:
        run: The pipeline run.
    """
    steps: dict[str, list[Any]] = {}
    for step in run.steps.values():
        if step.started_at:
            steps.setdefault(step.name.partition("[")[0], []).append(step)
    if not steps:
        return []
    now = datetime.now(UTC)
    first = min(step.started_at for of in steps.values() for step in of)
    last = max(step.ended_at or now for of in steps.values() for step in of)
    scale = (_WIDTH - _LABEL - 90) / (((last - first).total_seconds()) or 1.0)

    def bar(name: str, status: str, id: str, start: datetime, end: datetime) -> Bar:
        x = _LABEL + (start - first).total_seconds() * scale
        return Bar(name, status, id, x, max(2.0, (end - start).total_seconds() * scale))

    rows = []
    for index, (name, of) in enumerate(islice(steps.items(), _ROWS)):
        begun, over = min(s.started_at for s in of), max(s.ended_at or now for s in of)
        bars = [bar(s.name, s.status, s.id, s.started_at, s.ended_at or now) for s in of]
        if len(of) > _BARS:
            worst = min(of, key=lambda step: _rank(step.status))
            bars = [bar(name, worst.status, worst.id, begun, over)]
        label = seconds((over - begun).total_seconds())
        rows.append(Row(name, index * _ROW, tuple(bars), label))
    return rows


def _problem_of(run: Any) -> Any | None:
    """Give the first step that failed and says why."""
    failed = (step for step in run.steps.values() if step.status in _BAD and step.error)
    return min(failed, key=lambda step: step.ended_at or datetime.now(UTC), default=None)


def show_pipeline_run(request: Request, run: Any, pages: Pages) -> Response:
    """Answer with the page of a pipeline run, or with the part of it that changes.

    Args:
        request: What is asked.
        run: The pipeline run.
        pages: Renders the answer.
    """
    nodes = nodes_of(run)
    values: dict[str, Any] = {
        "run": run,
        "nodes": nodes,
        "rows": rows_of(run),
        "left_out": max(0, sum(1 for node in nodes if node.seconds is not None) - _ROWS),
        "problem": _problem_of(run),
        "width": _WIDTH,
        "row": _ROW,
        "is_live": run.status == "running",
        "now": time.time(),
    }
    if is_part(request):
        return pages.answer(request, "_graph.html", **values)
    return pages.answer(request, "pipeline.html", title=run.name, **values)


def show_more(request: Request, client: Client, pages: Pages) -> Response:
    """Answer with what the journals of all steps of a pipeline run say together.

    Args:
        request: What is asked.
        client: Reads the project.
        pages: Renders the answer.
    """
    run = client.get_run(request.path_params["id"])
    metrics = {key: metric for key, metric in run.metrics.items() if not is_system(key)}
    return pages.answer(request, "_pipeline_more.html", run=run, metrics=metrics)


def show_pipelines(request: Request, client: Client, pages: Pages) -> Response:
    """Answer with the list of pipelines, each with its latest runs.

    Args:
        request: What is asked.
        client: Reads the project.
        pages: Renders the answer.
    """
    by_name: dict[str, list[Any]] = {}
    for run in client.list_pipeline_runs(most=1000):
        by_name.setdefault(run.pipeline, []).append(run)
    return pages.answer(
        request, "pipelines.html", title="Pipelines", pipelines=list(_latest(by_name))
    )


def _latest(by_name: dict[str, list[Any]]) -> Iterator[tuple[str, Any, list[Any], int]]:
    for name, runs in by_name.items():
        yield name, runs[0], runs[:20][::-1], len(runs)
