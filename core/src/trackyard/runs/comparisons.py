"""How do runs differ: which params, and which metrics, side by side?"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from trackyard.contract.context import Context
from trackyard.runs.charts import chart
from trackyard.runs.curves import MetricSummary
from trackyard.runs.views import MOST_CHARTS, RunView, series_of
from trackyard.system.showing import Link, Shown, html_table, html_text, in_a_cell, says


@attrs.frozen(repr=False)
class ParamDifference(Shown):
    """A param that differs; a run that lacks it has None, and is not among `present`."""

    key: str = attrs.field(metadata=says("Its key"))
    values: tuple[Any, ...] = attrs.field(metadata=says("Its value in each run"))
    present: tuple[bool, ...] = attrs.field(metadata=says("Whether each run has it"))


@attrs.frozen(repr=False)
class MetricComparison(Shown):
    """A metric of several runs."""

    key: str = attrs.field(metadata=says("Its key"))
    goal: str = attrs.field(metadata=says("What counts as best, guessed from the key"))
    best_run: str | None = attrs.field(metadata=says("The run that has the best value"))
    runs: tuple[MetricSummary | None, ...] = attrs.field(
        metadata=says("The metric in each run; null where a run lacks it")
    )


@attrs.frozen(repr=False)
class Comparison(Shown):
    """Several runs side by side."""

    runs: tuple[str, ...] = attrs.field(metadata=says("Their names, in order"))
    ids: tuple[str, ...] = attrs.field(metadata=says("Their ids"))
    statuses: tuple[str, ...] = attrs.field(metadata=says("Their statuses"))
    seconds: tuple[float | None, ...] = attrs.field(metadata=says("How long each took"))
    params: tuple[ParamDifference, ...] = attrs.field(metadata=says("Params that differ"))
    same_params: Mapping[str, Any] = attrs.field(metadata=says("Params that all have alike"))
    metrics: tuple[MetricComparison, ...] = attrs.field(metadata=says("Metrics side by side"))
    context: tuple[ParamDifference, ...] = attrs.field(
        default=(), metadata=says("Where they come from, as far as it differs, with packages")
    )
    views: tuple[RunView, ...] = attrs.field(
        factory=tuple, repr=False, eq=False, metadata={"help": "The runs", "json": False}
    )

    def __repr__(self) -> str:
        differ = f"{len(self.params)} params differ, {len(self.metrics)} metrics"
        return f"<Comparison of {len(self.runs)} runs: {differ}>"

    def _repr_html_(self) -> str:
        names = [Link(view.name, view.url) for view in self.views]
        params = [(p.key, *_shown_values(p)) for p in self.params]
        parts = [html_table(("", *names), [("status", *self.statuses), *params])]
        heads = "".join(f"<th>{html_text(text)}</th>" for text in ("metric", *names, "curves"))
        rows = "".join(self._metric_row(metric) for metric in self.metrics[:MOST_CHARTS])
        parts += [f"<table><tr>{heads}</tr>{rows}</table>"] if rows else []
        return "".join(parts)

    def _metric_row(self, metric: MetricComparison) -> str:
        cells = "".join(f"<td>{m.last:.6g}</td>" if m else "<td></td>" for m in metric.runs)
        drawn = chart([series_of(view, metric.key, view.name) for view in self.views])
        return f"<tr><td>{html.escape(metric.key)}</td>{cells}<td>{drawn}</td></tr>"


def compare(views: Sequence[RunView]) -> Comparison:
    """Compare runs, in the order in which they are given."""
    differing, same = _differing([view.all_params for view in views])
    metrics = [view.metrics for view in views]
    return Comparison(
        runs=tuple(view.name for view in views),
        ids=tuple(view.id for view in views),
        statuses=tuple(view.status for view in views),
        seconds=tuple(view.seconds for view in views),
        params=differing,
        same_params=same,
        context=_differing(_contexts(views))[0],
        metrics=tuple(
            _metric(key, [of.get(key) for of in metrics], views) for key in _keys(metrics)
        ),
        views=tuple(views),
    )


def _differing(
    sides: Sequence[Mapping[str, Any]],
) -> tuple[tuple[ParamDifference, ...], dict[str, Any]]:
    """Give what differs between mappings, and what is the same in all of them."""
    differing, same = [], {}
    for key in _keys(sides):
        values = tuple(of.get(key) for of in sides)
        present = tuple(key in of for of in sides)
        if all(present) and all(_same(value, values[0]) for value in values):
            same[key] = values[0]
        else:
            differing.append(ParamDifference(key, values, present))
    return tuple(differing), same


def _contexts(views: Sequence[RunView]) -> list[dict[str, str]]:
    """Give where runs come from, by key; packages only where all of them know theirs."""
    contexts = [view.context or Context() for view in views]
    if all(context == Context() for context in contexts):
        return []
    know_packages = all(context.packages for context in contexts)
    return [
        {
            **{key.removeprefix("trackyard."): text for key, text in context.tags.items()},
            **({f"package {n}": v for n, v in context.packages.items()} if know_packages else {}),
        }
        for context in contexts
    ]


def _shown_values(difference: ParamDifference) -> list[str]:
    return [
        in_a_cell(value) if is_there else "–"
        for value, is_there in zip(difference.values, difference.present, strict=True)
    ]


def _keys(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (one == other or repr(one) == repr(other))


def _metric(
    key: str, summaries: list[MetricSummary | None], views: Sequence[RunView]
) -> MetricComparison:
    goal = next(summary.goal for summary in summaries if summary)
    # NaN is never best.
    ranked = [
        (summary.best if goal == "lowest" else -summary.best, index)
        for index, summary in enumerate(summaries)
        if summary and summary.best == summary.best
    ]
    best = views[min(ranked)[1]].name if len(ranked) > 1 else None
    return MetricComparison(key, goal, best, tuple(summaries))
