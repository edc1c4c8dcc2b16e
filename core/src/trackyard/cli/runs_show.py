"""`trackyard runs show`: what is known of one run?"""

from __future__ import annotations

import attrs
import click

from trackyard.cli.completing import run_names
from trackyard.cli.output import (
    bars,
    in_seconds,
    json_option,
    remark,
    say,
    show_json,
    show_table,
    show_values,
)
from trackyard.client import Client
from trackyard.runs.health import health_lines
from trackyard.runs.views import ChildRuns, RunView, StepView

_HEAD = (
    *("steps", "params", "health", "urls", "kind", "url", "parent_id"),
    *("children", "context", "sessions"),
)
# Lines of the tree of child runs, and so many of one run.
_MOST_LINES, _MOST_CHILDREN = 60, 20
_STEP_COLUMNS = {
    "name": "STEP",
    "status": "STATUS",
    "seconds": "SECONDS",
    "attempt": "ATTEMPT",
    "error": "ERROR",
}
_SESSION_COLUMNS = {
    "number": "SESSION",
    "status": "STATUS",
    "seconds": "SECONDS",
    "started_at": "STARTED",
    "ended_at": "ENDED",
}
_METRIC_COLUMNS = {
    "name": "METRIC",
    "last": "LAST",
    "best": "BEST",
    "best_step": "AT STEP",
    "points": "POINTS",
    "curve": "CURVE",
}


@click.command()
@click.argument("run", shell_complete=run_names)
@json_option
def show(run: str, as_json: bool) -> None:
    """Show RUN: its steps, params, metrics with their curves, addresses and health.

    RUN is a name, an id or a prefix that fits one run alone. Best is the lowest value of what is
    called loss, error, time or the like, and the highest of everything else. Times are UTC.
    """
    view = Client().get_run(run)
    if as_json:
        show_json(view)
        return
    head = {**attrs.asdict(view, recurse=False), "seconds": in_seconds(view.seconds)}
    head.pop("_above")
    if view.parent_name is not None:
        head["parent"] = f"{view.parent_name} ({view.parent_id})"
    show_values(head, as_json=False, leave_out=_HEAD)
    say("")
    columns = _STEP_COLUMNS if any(step.error for step in view.steps) else _without("error")
    steps = [
        {**attrs.asdict(step, recurse=False), "seconds": in_seconds(step.seconds)}
        for step in view.steps
    ]
    show_table(steps, columns, as_json=False, empty="it has no steps")
    _show_sessions(view)
    _show_context(view)
    _show_params(view)
    _show_metrics(view)
    _show_lists(view)
    _show_children(view)


def _show_sessions(view: RunView) -> None:
    """Show the times that a run was open, where it was resumed."""
    rows = [
        {**attrs.asdict(session), "number": number, "seconds": in_seconds(session.seconds)}
        for number, session in enumerate(view.sessions, 1)
    ]
    if rows:
        say("")
        show_table(rows, _SESSION_COLUMNS, as_json=False, empty="")


def _show_children(view: RunView) -> None:
    """Show the tree of child runs, as far as it fits a screen or two."""
    if not view.children:
        return
    say("")
    say("child runs")
    lines: list[str] = []
    _add_children(view.children, 1, lines)
    for text in lines[:_MOST_LINES]:
        say(text)
    if len(lines) > _MOST_LINES or len(view.children) > _MOST_CHILDREN:
        remark(f"to see all of them, type: trackyard runs list --parent {view.id}")


def _add_children(children: ChildRuns, depth: int, lines: list[str]) -> None:
    indent = "  " * depth
    for index, child in enumerate(children.summaries(_MOST_CHILDREN)):
        if len(lines) > _MOST_LINES:
            return
        lines.append(f"{indent}{child.name}  {child.status}  {in_seconds(child.seconds)}")
        _add_children(children.below(index), depth + 1, lines)
    left = len(children) - _MOST_CHILDREN
    if left > 0:
        lines.append(f"{indent}and {left} more")


def _show_context(view: RunView) -> None:
    """Show where the run comes from; its packages are too many to list."""
    if view.context is None:
        return
    known = {key.removeprefix("trackyard."): text for key, text in view.context.tags.items()}
    if view.context.packages:
        known["packages"] = f"{len(view.context.packages)}, listed by --json"
    say("")
    rows = [{"key": key, "value": text} for key, text in known.items()]
    show_table(rows, {"key": "COMES FROM", "value": ""}, as_json=False, empty="")


def _without(key: str) -> dict[str, str]:
    return {name: head for name, head in _STEP_COLUMNS.items() if name != key}


def _show_params(view: RunView) -> None:
    params = view.all_params
    if params:
        say("")
        rows = [{"key": key, "value": value} for key, value in params.items()]
        show_table(rows, {"key": "PARAM", "value": "VALUE"}, as_json=False, empty="")


def _show_metrics(view: RunView) -> None:
    rows = [
        {
            "name": name,
            "last": metric.last,
            "best": metric.best,
            "best_step": metric.best_step,
            "points": metric.points or "",
            "curve": bars(metric.curve),
        }
        for name, metric in view.metrics.items()
    ]
    if rows:
        say("")
        show_table(rows, _METRIC_COLUMNS, as_json=False, empty="")


def _show_lists(view: RunView) -> None:
    """Show what comes in numbers that no table knows before."""
    for title, lines in (
        ("artifacts", [name for step in view.steps for name in step.artifacts.shown()]),
        ("outputs", [f"{s.name}.{n}  {uri}" for s in view.steps for n, uri in s.outputs.items()]),
        ("URLs", [text for step in view.steps for text in _urls(step)]),
        ("trackers", health_lines(view.health)),
    ):
        if lines:
            say("")
            say(title)
            for text in lines:
                say(f"  {text}")
    lost = sum(step.lost for step in view.steps)
    if lost:
        say(f"  {lost} log call(s) were lost to a full or damaged disk, or with a machine")
    if view.steps and not any(step.has_journal or step.status == "skipped" for step in view.steps):
        say("")
        say("its journals are not on this machine: this comes from the store")
        say("export, logs and download read points, lines and files from its trackers")


def _urls(step: StepView) -> list[str]:
    return [f"{step.name} on {tracker}  {url}" for tracker, url in step.urls.items()]
