"""`trackyard runs compare`: how do runs differ?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from trackyard.cli.completing import run_names
from trackyard.cli.output import (
    bars,
    in_seconds,
    is_terminal,
    json_option,
    say,
    show_json,
    show_table,
)
from trackyard.client import Client
from trackyard.journal.tallies import sampled
from trackyard.runs.comparisons import Comparison
from trackyard.runs.curves import MetricSummary
from trackyard.system.showing import in_a_cell


@click.command()
@click.argument("runs", nargs=-1, required=True, shell_complete=run_names)
@json_option
@click.pass_context
def compare(ctx: click.Context, /, runs: tuple[str, ...], as_json: bool) -> None:
    """Compare RUNS: params, commits and packages that differ, and metrics side by side.

    Of each metric the last value is shown; a star marks the run with the best one.
    """
    if len(runs) < 2:
        raise click.UsageError(f"two runs or more are needed; type: {ctx.command_path} A B", ctx)
    comparison = Client().compare_runs(*runs)
    if as_json:
        show_json(comparison)
        return
    columns = {"key": "", **{str(i): name for i, name in enumerate(comparison.runs)}}
    show_table(_facts(comparison), columns, as_json=False, empty="")
    if comparison.params:
        say("")
        rows = [_params_row(p.key, p.values, p.present) for p in comparison.params]
        show_table(rows, {**columns, "key": "PARAM"}, as_json=False, empty="")
    else:
        say("")
        say(f"no param differs; {len(comparison.same_params)} are the same")
    if comparison.context:
        say("")
        rows = [_params_row(c.key, c.values, c.present) for c in comparison.context]
        show_table(rows, {**columns, "key": "COMES FROM"}, as_json=False, empty="")
    if comparison.metrics:
        say("")
        rows = [_metric_row(m.key, m.runs, m.best_run, comparison) for m in comparison.metrics]
        show_table(rows, {**columns, "key": "METRIC"}, as_json=False, empty="")


def _facts(comparison: Comparison) -> list[dict[str, Any]]:
    seconds = [in_seconds(taken) for taken in comparison.seconds]
    facts: dict[str, Sequence[object]] = {
        "status": comparison.statuses,
        "seconds": seconds,
        "id": comparison.ids,
    }
    if not is_terminal():  # where a table has no heads
        facts = {"run": comparison.runs, **facts}
    return [
        {"key": key, **{str(i): value for i, value in enumerate(values)}}
        for key, values in facts.items()
    ]


def _params_row(key: str, values: tuple[Any, ...], present: tuple[bool, ...]) -> dict[str, Any]:
    cells = zip(values, present, strict=True)
    shown = [("None" if v is None else in_a_cell(v)) if is_there else "–" for v, is_there in cells]
    return {"key": key, **{str(i): text for i, text in enumerate(shown)}}


def _metric_row(
    key: str, metrics: tuple[MetricSummary | None, ...], best: str | None, comparison: Comparison
) -> dict[str, Any]:
    # Two runs of one name have one mark: that of the first.
    index = comparison.runs.index(best) if best is not None else -1
    cells = {str(i): _metric_cell(metric, i == index) for i, metric in enumerate(metrics)}
    return {"key": key, **cells}


def _metric_cell(metric: MetricSummary | None, is_best: bool) -> str:
    if metric is None:
        return "–"
    return f"{metric.last:.6g}{'*' if is_best else ''} {bars(sampled(metric.curve, 12))}".rstrip()
