"""Runs side by side: what differs comes first."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse, Response

from trackyard import Client
from trackyard_page.curves import is_drawn, is_system
from trackyard_page.rendering import Pages, link

if TYPE_CHECKING:
    from starlette.requests import Request

MOST = 20


def show_comparison(request: Request, client: Client, pages: Pages) -> Response:
    """Answer with the comparison of the runs that were chosen.

    Args:
        request: What is asked.
        client: Reads the project.
        pages: Renders the answer.
    """
    ids = list(dict.fromkeys(request.query_params.getlist("run")))[:MOST]
    if not ids:
        return RedirectResponse(link(request.scope.get("root_path", ""), "runs"))
    found = client.compare_runs(*ids)
    drawn = [m for m in found.metrics if any(of is not None and is_drawn(of) for of in m.runs)]
    drawn.sort(key=lambda metric: is_system(metric.key))
    best = {m.key: m.best_run for m in found.metrics if len({of and of.best for of in m.runs}) > 1}
    packages = [of for of in found.context if of.key.startswith("package ")]
    return pages.answer(
        request,
        "compare.html",
        title="Comparison",
        found=found,
        drawn=drawn,
        best=best,
        context=[of for of in found.context if of not in packages],
        packages=packages,
        columns=json.dumps(_columns(found)),
        names=json.dumps(found.runs),
    )


def _columns(found: Any) -> dict[str, list[float | None]]:
    """Give what is a number in some of the runs, for axes."""
    columns: dict[str, list[Any]] = {of.key: list(of.values) for of in found.params}
    for metric in sorted(found.metrics, key=lambda metric: is_system(metric.key)):
        columns[metric.key] = [None if of is None else of.last for of in metric.runs]
    columns["seconds"] = list(found.seconds)
    numbers = {key: [_number(value) for value in values] for key, values in columns.items()}
    return {key: of for key, of in numbers.items() if sum(v is not None for v in of) > 1}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
