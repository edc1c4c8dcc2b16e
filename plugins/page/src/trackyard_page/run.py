"""The page of a run: curves, params, media, files, console, context and health."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import attrs

from trackyard import Client, RunNotFoundError
from trackyard_page.curves import is_drawn, is_system
from trackyard_page.files import FileView, files_of
from trackyard_page.pipeline import show_pipeline_run
from trackyard_page.rendering import Pages, is_part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

# Lines of the console that a page shows at first, and charts.
LINES, CHARTS = 400, 60
# Calls of a mapped step to go to.
CALLS = 1000
# Points of a curve that take a moment to be read.
LONG = 20_000


@attrs.frozen
class Shown:
    """What a page shows of a run, or of a step.

    Attributes:
        run: All of it.
        step: The run itself, as its only step.
        drawn, single: Metrics with a curve, and those with one value.
        system: Those of the machine, with a curve.
        media, tables, frames, others: Its files, by how they are shown.
    """

    run: Any
    step: Any
    drawn: list[Any]
    single: list[Any]
    system: list[Any]
    media: list[FileView]
    tables: list[FileView]
    frames: list[FileView]
    others: list[FileView]

    @property
    def first(self) -> dict[str, dict[str, list[float]]]:
        """Of long curves a rough course, which is drawn until all points have been read."""
        long = [of for of in (*self.drawn, *self.system) if of.points > LONG]
        return {
            metric.key: _rough(metric) for metric in long if all(map(math.isfinite, metric.curve))
        }

    @classmethod
    def of(cls, run: Any) -> Shown:
        """Sort what a run holds."""
        step = run.steps[0]
        files = files_of(step)
        by_way = {way: list(of) for way, of in groupby(sorted(files, key=_way), key=_way)}
        return cls(
            run=run,
            step=step,
            drawn=[of for of in step.metrics if is_drawn(of) and not is_system(of.key)],
            single=[of for of in step.metrics if not is_drawn(of)],
            system=[of for of in step.metrics if is_drawn(of) and is_system(of.key)],
            media=by_way.get("media", []),
            tables=by_way.get("table", []),
            frames=by_way.get("frame", []),
            others=by_way.get("other", []),
        )


def _rough(metric: Any) -> dict[str, list[float]]:
    width = metric.points / len(metric.curve)
    return {"x": [place * width for place in range(len(metric.curve))], "y": [*metric.curve]}


def _way(file: FileView) -> str:
    return file.way


def show_run(request: Request, client: Client, pages: Pages) -> Response:
    """Answer with the page of a run of any kind, or with what a pipeline's page shows of a step.

    Args:
        request: What is asked.
        client: Reads the project.
        pages: Renders the answer.
    """
    id_ = request.path_params["id"]
    try:
        pipeline = client.get_pipeline_run(id_)
    except RunNotFoundError:
        pipeline = None
    if pipeline is not None and pipeline.id == id_:
        return show_pipeline_run(request, pipeline, pages)
    run = client.get_run(id_)
    values: dict[str, Any] = {
        "shown": Shown.of(run),
        "is_live": run.status == "running",
        "inputs": {},
        "is_within": is_part(request),
    }
    if run.kind == "step" and run.parent is not None:
        values["parent"] = run.parent
        values |= _ends_of(client, run)
    else:
        values |= {"parent": None, "outputs": {}, "attempts": [], "calls": []}
    if is_part(request):
        return pages.answer(request, "_run.html", title=run.name, charts=CHARTS, **values)
    return pages.answer(request, "run.html", title=run.name, charts=CHARTS, **values)


def _ends_of(client: Client, run: Any) -> dict[str, Any]:
    """Give what a step of a pipeline has read, what it gave, and how often it was tried."""
    pipeline = client.get_pipeline_run(run.parent.id)
    step = pipeline.steps.get(run.steps[0].name)
    if step is None:
        return {"outputs": {}, "attempts": [], "calls": []}
    return {
        "inputs": _by_step(pipeline.inputs_of(step.name)),
        "outputs": step.outputs,
        "attempts": step.attempts if len(step.attempts) > 1 else [],
        "calls": _calls_of(pipeline, step.name),
    }


def _calls_of(pipeline: Any, name: str) -> list[Any]:
    """Give all calls of a step that is mapped, if this is one of them."""
    whole, bracket, _ = name.partition("[")
    found = [step for step in pipeline.steps.values() if step.name.startswith(f"{whole}[")]
    return found[:CALLS] if bracket else []


def _by_step(inputs: list[Any]) -> dict[str, list[Any]]:
    """Give what a step has read by the step that made it; calls of a map are in their order."""
    by_step: dict[str, list[Any]] = {}
    for found in sorted(inputs, key=_as_people_count):
        by_step.setdefault(re.sub(r"\[\d+\]", "", found.name), []).append(found)
    return by_step


def _as_people_count(found: Any) -> list[tuple[int, str]]:
    """Give a key that sorts `square[10]` behind `square[2]`."""
    parts = re.findall(r"\d+|\D+", found.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def show_console(request: Request, client: Client, pages: Pages) -> Response:
    """Answer with the last lines that a run printed.

    Args:
        request: What is asked.
        client: Reads the project.
        pages: Renders the answer.
    """
    run = client.get_run(request.path_params["id"])
    lines = list(_last(run.console, LINES))
    return pages.answer(
        request,
        "_console.html",
        run=run,
        lines=lines,
        left_out=max(0, len(run.console) - len(lines)),
        is_live=run.status == "running",
    )


def _last(lines: Any, most: int) -> Iterator[Any]:
    return iter(lines[-most:])
