"""What can an agent ask of a project, and of the documentation?

Each function is a tool: its docstring and its arguments are what the agent reads of it. All of them
only look, and `answers` marks what they give as data and keeps it within bounds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from trackyard import Client, TrackyardError
from trackyard.contract import RunNotFoundError, plain
from trackyard_mcp import documentation
from trackyard_mcp.answers import Exact, answering, telling

# Points of all curves of an answer together, and characters of what was printed.
POINTS, PRINTED = 1000, 30_000
_LINE, _NAME = 500, 100
FILTERS = (
    "A filter is such as: metrics.loss < 0.1 and params.rate = 0.2 and tags.stage = 'prod'. "
    "Left of the sign stands metrics.KEY, params.KEY, tags.KEY, steps.STEP.metrics.KEY or one of "
    "name, experiment, status, user, commit, start_time, end_time; odd keys stand in backticks: "
    "metrics.`val loss`. Signs are = != < <= > >= LIKE ILIKE IN, IS NULL, IS NOT NULL; beside "
    "`and` there are `or`, `not` and parentheses. Texts stand in single quotes."
)

Run = Annotated[str, Field(description="A run's name, its id, or a prefix that fits it alone.")]


class Tools:
    """The tools of one project.

    Args:
        root: The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def all(self) -> Sequence[Callable[..., Any]]:
        """Give the functions that are tools."""
        return (
            *(self.search_runs, self.get_run, self.compare_runs, self.get_curves),
            *(self.read_console, self.check_health),
        )

    @property
    def _client(self) -> Client:
        return Client(self._root)  # anew for each question: the configuration may have changed

    @answering
    def search_runs(
        self,
        filter: Annotated[str, Field(description=FILTERS)] = "",
        order_by: Annotated[
            str,
            Field(description="Such as `metrics.loss` or `start_time DESC`; latest first else."),
        ] = "",
        columns: Annotated[
            list[str] | None,
            Field(description="Only these, such as params.rate, metrics.loss; all by default."),
        ] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="How many runs.")] = 20,
        page: Annotated[int, Field(ge=1, description="Which so many of them.")] = 1,
    ) -> Any:
        """Find runs by a filter on metrics, params, tags and more, sorted by one of these.

        Metrics are last values; those of a pipeline's run are its steps'.
        """
        client = self._client
        try:
            found = client.search_runs(filter, order_by, limit=limit, page=page)
            is_full = len(found) == limit
            more = is_full and bool(client.search_runs(filter, limit=1, page=page * limit + 1))
            runs = (
                [{name: run.value_of(name) for name in ("name", "id", *columns)} for run in found]
                if columns
                else found
            )
        except TrackyardError as error:
            raise TrackyardError(f"{error}\n{FILTERS}") from error
        return {"runs": list(runs), "there_are_more": more}

    @answering
    def get_run(self, run: Run) -> Any:
        """Show a run: status, steps, params, metrics, addresses, context, notes and health.

        Of several runs of one name the latest is shown. Its curves and what it printed have tools
        of their own.
        """
        return self._client.get_run(run)

    @answering
    def compare_runs(self, runs: Annotated[list[str], Field(min_length=2, max_length=10)]) -> Any:
        """Compare runs: params, packages and commits that differ, metrics side by side."""
        return self._client.compare_runs(*runs)

    @answering
    def get_curves(
        self,
        run: Run,
        metrics: Annotated[
            list[str] | None, Field(description="Keys of metrics; all by default, 20 at most.")
        ] = None,
        points: Annotated[int, Field(ge=4, le=POINTS, description="Of each curve at most.")] = 100,
    ) -> Any:
        """Give the points of a run's metrics as [step, value], thinned so that spikes stay.

        `logged` says how many points the curve has in all.
        """
        curves = self._client.get_run(run).curves
        wanted = list(dict.fromkeys(metrics or list(curves)))[:20]
        if unknown := [key for key in wanted if key not in curves]:
            raise TrackyardError(
                f"run {run!r} has no metric {', '.join(map(repr, unknown))}; "
                f"it has {', '.join(map(repr, list(curves)[:50])) or 'none'}"
            )
        most = max(4, min(points, POINTS // max(1, len(wanted))))
        others = [key for key in curves if key not in wanted] if metrics is None else []
        return Exact(
            {
                "curves": {key: _points(curves[key], most) for key in wanted},
                "left_out": len(others),
                "among_them": [key[:_NAME] for key in others[:100]],
            }
        )

    @answering
    def read_console(
        self,
        run: Run,
        step: Annotated[str, Field(description="Only what this step printed.")] = "",
        lines: Annotated[int, Field(ge=1, le=500, description="How many, at most.")] = 100,
    ) -> Any:
        """Give the last lines that a run printed: stdout, stderr and what was logged.

        Each has its time (UTC), its stream and its text; those of a pipeline's steps have the name
        of the step, too.
        """
        steps = self._client.get_run(run).steps
        if step and step not in [known.name for known in steps]:
            names = ", ".join(repr(known.name) for known in steps[:50])
            raise RunNotFoundError(f"run {run!r} has no step {step!r}; it has {names}")
        printed = sorted(
            (line.moment, f"{known.name} | " if len(steps) > 1 else "", line.stream, line.text)
            for known in steps
            if step in ("", known.name)
            for line in known.console[-lines:]
        )
        texts = [
            f"{name}{moment} {stream} {text[:_LINE]}" for moment, name, stream, text in printed
        ]
        kept = _tail(texts[-lines:], PRINTED)
        return Exact({"lines": kept})

    @answering
    def check_health(self) -> Any:
        """Say what is wrong with the project, its trackers and runs, and what a person may type.

        No tracker is asked. Problems come first.
        """
        diagnosis = plain(self._client.doctor())
        diagnosis["findings"].sort(key=lambda found: found["status"] != "problem")
        return diagnosis


@telling
def search_docs(
    words: Annotated[str, Field(description="Such as: resume a run after a crash")],
) -> Any:
    """Find parts of Trackyard's documentation: how things are written, typed and configured."""
    found = documentation.search(words)
    return {"sections": plain(found), "pages": [] if found else documentation.pages()}


@telling
def read_docs(
    page: Annotated[str, Field(description="Such as `runs` or `flavors/mlflow`.")],
    offset: Annotated[int, Field(ge=0, description="Where to go on: `next_offset`.")] = 0,
) -> Any:
    """Read a page of Trackyard's documentation."""
    text, following = documentation.read(page, offset)
    return Exact({"text": text, "next_offset": following})


def _points(curve: Any, most: int) -> dict[str, Any]:
    thin = curve.thinned(most)
    pairs = zip(thin.steps, thin.values, strict=True)
    return {"logged": len(curve), "points": [[step, _short(value)] for step, value in pairs]}


def _short(value: float) -> float | str:
    """Give six digits; JSON has no infinities."""
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)


def _tail(texts: list[str], characters: int) -> list[str]:
    """Give the last texts that are not longer than that together."""
    kept: list[str] = []
    for text in reversed(texts):
        characters -= len(json.dumps(text))
        if characters < 0:
            break
        kept.append(text)
    return kept[::-1]
