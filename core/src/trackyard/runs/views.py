"""What does one see of a run: its steps, params, metrics, curves, addresses and health?"""

from __future__ import annotations

import html
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, overload

import attrs

from trackyard.contract.context import Context
from trackyard.contract.errors import RunNotFoundError, TrackyardError
from trackyard.contract.records import NAME, NOTE, Run
from trackyard.journal.columns import Column
from trackyard.journal.contexts import first_context
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.openings import openings_of
from trackyard.project.configuration import Project
from trackyard.runs.artifacts import Artifacts, artifacts_of, joined
from trackyard.runs.charts import Series, chart
from trackyard.runs.curves import Curve, MetricSummary, summary_of_last, summary_of_row
from trackyard.runs.health import TrackerHealth, added_up, health_of
from trackyard.runs.held_elsewhere import HeldElsewhere, trackers_of_step
from trackyard.runs.histories import History, LateCurves, has_journal, look_at
from trackyard.runs.lists import (
    RunKind,
    RunSummary,
    child_folders,
    moment,
    seconds_of,
    summary_of,
)
from trackyard.runs.printed import PrintedLines
from trackyard.store import PipelineRunRow, StepRunRow, Store
from trackyard.store.annotations import Annotation
from trackyard.store.details import RunDetails
from trackyard.store.listing import has_store
from trackyard.store.rows import ListedRow
from trackyard.system.showing import Link, Shown, ShownAs, html_table, html_text, in_a_cell, says

logger = logging.getLogger("trackyard")

# More pictures than that make a notebook slow, and nobody looks at them.
MOST_CHARTS = 30


@attrs.frozen(repr=False)
class StepView(Shown):
    """A step of a run, by its latest attempt; a run without a pipeline has one, itself."""

    name: str = attrs.field(metadata=says("Its name"))
    status: str = attrs.field(metadata=says("A run's status, `skipped` or `cached`"))
    seconds: float | None = attrs.field(metadata=says("From its start to its end"))
    attempt: int = attrs.field(metadata=says("Which attempt this is, from 1"))
    id: str = attrs.field(metadata=says("The id of its run"))
    started_at: datetime | None = attrs.field(metadata=says("When it started (UTC)"))
    ended_at: datetime | None = attrs.field(metadata=says("When it ended"))
    error: str | None = attrs.field(metadata=says("Class and message of what it raised"))
    params: Mapping[str, Any] = attrs.field(metadata=says("What was logged as params"))
    tags: Mapping[str, str] = attrs.field(metadata=says("Its tags"))
    metrics: tuple[MetricSummary, ...] = attrs.field(metadata=says("Its metrics"))
    artifacts: Artifacts = attrs.field(eq=False, metadata=says("Names of logged files"))
    console: PrintedLines = attrs.field(
        eq=False, repr=False, metadata={"help": "What it printed, line by line", "json": False}
    )
    outputs: Mapping[str, str] = attrs.field(metadata=says("Where each output is stored"))
    urls: Mapping[str, str] = attrs.field(metadata=says("Its address by tracker"))
    health: tuple[TrackerHealth, ...] = attrs.field(metadata=says("How it stands on each tracker"))
    lost: int = attrs.field(
        metadata=says("Log calls lost to a full or damaged disk, or with a machine")
    )
    has_journal: bool = attrs.field(metadata=says("Its journal is on this machine"))
    context: Context | None = attrs.field(
        default=None, repr=False, eq=False, metadata={"help": "Where it comes from", "json": False}
    )
    curves: Mapping[str, Curve] = attrs.field(
        factory=dict, repr=False, eq=False, metadata={"help": "All points", "json": False}
    )


@attrs.frozen(repr=False)
class SessionView(Shown):
    """One of the times that a run was open: from its start, or from a `resume_run`, to an end."""

    status: str = attrs.field(metadata=says("How it ended"))
    seconds: float = attrs.field(metadata=says("How long it was, to now where it goes on"))
    started_at: datetime = attrs.field(metadata=says("When it began (UTC)"))
    ended_at: datetime | None = attrs.field(metadata=says("When it ended"))


class ChildRuns(ShownAs, Sequence["RunView"]):
    """The runs that were started inside a run, or inside its steps, with `nested=True`.

    Each is read when it is asked for. JSON has them as `runs list` has.

    Args:
        project: The project; None where there are none.
        parents: The ids of the run and of its steps.
    """

    def __init__(self, project: Project | None = None, parents: Iterable[str] = ()) -> None:
        self._project = project
        self._parents = tuple(parents)

    @cached_property
    def _found(self) -> list[tuple[Path, RunDescription]]:
        if self._project is None:
            return []
        folders = (f for id_ in self._parents for f in child_folders(self._project, id_))
        described = ((folder, load_description(folder)) for folder in folders)
        return [
            (folder, found)
            for folder, found in described
            if found is not None and found.run.is_child and found.run.parent_id in self._parents
        ]

    def summaries(self, most: int | None = None) -> list[RunSummary]:
        """Give the runs as they stand in a list, the first ones alone where `most` says how many.

        Args:
            most: How many at most.
        """
        return [summary_of(*found) for found in self._found[:most]]

    def shown(self) -> list[RunSummary]:
        """Give all of them as they stand in a list."""
        return self.summaries()

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> RunView: ...

    @overload
    def __getitem__(self, index: slice) -> list[RunView]: ...

    def __getitem__(self, index: int | slice) -> RunView | list[RunView]:
        if isinstance(index, slice):
            return [self._view(*found) for found in self._found[index]]
        return self._view(*self._found[index])

    def below(self, index: int) -> ChildRuns:
        """Give the child runs of one of them, which is not read for it.

        Args:
            index: Which one.
        """
        return ChildRuns(self._project, [self._found[index][1].run.id])

    def _view(self, folder: Path, description: RunDescription) -> RunView:
        assert self._project is not None
        return block_view(self._project, folder, description, summary_of(folder, description))

    def __repr__(self) -> str:
        return f"<ChildRuns {len(self)}>"


@attrs.frozen
class _Above:
    """What stands above a run: the run around a child run, or the pipeline run of a step."""

    project: Project
    parent: str | None = None
    pipeline_run: str | None = None

    @classmethod
    def of(cls, project: Project, run: Run) -> _Above:
        if run.is_child:
            return cls(project, parent=run.parent_id)
        return cls(project, pipeline_run=run.group if run.step is not None else None)

    def name(self) -> str | None:
        found = load_description(self._folder) if self.parent else None
        return found.run.name if found else None

    def view(self) -> RunView | None:
        if self.parent:
            found = load_description(self._folder)
            if found is None:
                return None
            return block_view(self.project, self._folder, found, summary_of(self._folder, found))
        if not self.pipeline_run or not has_store(self.project):
            return None
        store = Store.of(self.project)
        try:
            row = store.find_pipeline_run(self.pipeline_run)
            return pipeline_run_view(self.project, row, store)
        except RunNotFoundError:
            return None
        finally:
            store.close()

    @property
    def _folder(self) -> Path:
        return self.project.home / "runs" / str(self.parent)


@attrs.frozen(repr=False)
class RunView(Shown):
    """A run with everything that is known of it."""

    name: str = attrs.field(metadata=says("Its name"))
    kind: RunKind = attrs.field(metadata=says("As in `runs list`"))
    status: str = attrs.field(metadata=says("As in `runs list`"))
    pipeline: str = attrs.field(metadata=says("Its pipeline, or its experiment without one"))
    seconds: float | None = attrs.field(metadata=says("From its start to its end, or to now"))
    started_at: datetime = attrs.field(metadata=says("When it started (UTC)"))
    ended_at: datetime | None = attrs.field(metadata=says("When it ended"))
    id: str = attrs.field(metadata=says("Its id"))
    stack: str = attrs.field(
        metadata=says("The stack of a pipeline run; empty where another tool runs it")
    )
    params: Mapping[str, Any] = attrs.field(
        metadata=says("The pipeline's arguments; without a pipeline what the run itself logged")
    )
    url: str | None = attrs.field(metadata=says("Its address on the first tracker"))
    urls: Mapping[str, str] = attrs.field(metadata=says("Its address by tracker"))
    steps: tuple[StepView, ...] = attrs.field(metadata=says("Its steps, in order"))
    health: tuple[TrackerHealth, ...] = attrs.field(
        metadata=says("How its runs together stand on each tracker")
    )
    parent_id: str | None = attrs.field(
        default=None, metadata=says("Of a child run, the id of the run that it was started in")
    )
    children: ChildRuns = attrs.field(
        factory=ChildRuns, eq=False, metadata=says("The runs that were started in it")
    )
    context: Context | None = attrs.field(
        default=None, eq=False, repr=False, metadata=says("Where it comes from; null if unknown")
    )
    note: str | None = attrs.field(
        default=None, metadata=says("What somebody has written about it; null if nothing")
    )
    tags: Mapping[str, str] = attrs.field(
        factory=dict, metadata=says("Its own tags; those of its steps are theirs")
    )
    sessions: tuple[SessionView, ...] = attrs.field(
        default=(), metadata=says("Of a run that was resumed, each time that it was open")
    )
    error: str | None = attrs.field(
        metadata=says("Class and message of what its first failed step raised; null if none did")
    )
    _above: _Above | None = attrs.field(
        default=None, repr=False, eq=False, metadata={"help": "Finds it", "json": False}
    )

    @error.default
    def _first_error(self) -> str | None:
        return next((step.error for step in self.steps if step.error), None)

    @property
    def parent(self) -> RunView | None:
        """The run that it was started in, or the pipeline run of a step; None where it has none."""
        return self._above.view() if self._above else None

    @property
    def parent_name(self) -> str | None:
        """Its name, for which its journal is not read."""
        return self._above.name() if self._above else None

    @property
    def all_params(self) -> dict[str, Any]:
        """The pipeline's and the steps' params; those that several steps have bear their names."""
        own = [("", self.params)] if self.kind == "pipeline" else []
        return _joined([*own, *((step.name, step.params) for step in self.steps)])

    @property
    def metrics(self) -> dict[str, MetricSummary]:
        """The metrics of all steps; those that several steps have bear the steps' names."""
        return _joined((s.name, {m.key: m for m in s.metrics}) for s in self.steps)

    @property
    def artifacts(self) -> Artifacts:
        """The files of all steps; names that several steps have stand below those of the steps."""
        return joined(self.name, [(step.name, step.artifacts) for step in self.steps])

    @property
    def console(self) -> PrintedLines:
        """What all steps printed, in the order of times."""
        return PrintedLines.merged([step.console for step in self.steps])

    @property
    def curves(self) -> dict[str, Curve]:
        """The curves of all steps by the same names."""
        return _joined((step.name, step.curves) for step in self.steps)

    def _repr_html_(self) -> str:
        title = f"<p>{html_text(Link(self.name, self.url))}: {html.escape(self.status)}</p>"
        heads = ("step", "status", "seconds")
        rows = [
            (Link(s.name, next(iter(s.urls.values()), None)), s.status, in_a_cell(s.seconds))
            for s in self.steps
        ]
        params = [(key, in_a_cell(value)) for key, value in self.all_params.items()]
        parts = [title, html_table(heads, rows)]
        parts += [html_table(("param", "value"), params)] if params else []
        return "".join([*parts, _metrics_table(self)])


def pipeline_run_view(project: Project, row: PipelineRunRow, store: Store) -> RunView:
    """Describe a pipeline run, by the store and by the journals that are on this machine.

    Args:
        project: The project.
        row: The run, as the store has it.
        store: Where its steps are.
    """
    runs = project.home / "runs"
    # By attempt: the last one counts.
    latest = {step.name: step for step in store.list_step_runs(row.id)}
    origins = {step.id: _origin_of(step) for step in latest.values()}
    away = [origin for origin in origins.values() if not has_journal(runs / origin)]
    details = store.details_of(away) if away else {}
    views = tuple(
        _step_of_row(project, step, details.get(origins[step.id])) for step in latest.values()
    )
    own = _health(runs / row.id, load_description(runs / row.id))
    urls = {h.tracker: h.url for h in own if h.url}
    for view in views:
        urls = {**view.urls, **urls}
    return RunView(
        name=row.name,
        kind="pipeline",
        status=row.status,
        pipeline=row.pipeline,
        seconds=seconds_of(row.started_at, row.ended_at),
        started_at=moment(row.started_at),
        ended_at=None if row.ended_at is None else moment(row.ended_at),
        id=row.id,
        stack=row.stack,
        params=row.params,
        url=next(iter(urls.values()), None),
        urls=urls,
        steps=views,
        health=added_up([*own, *(health for view in views for health in view.health)]),
        children=ChildRuns(project, [row.id, *(view.id for view in views)]),
        context=next((view.context for view in views if view.context), None)
        or first_context(runs / row.id),
    )


def block_view(
    project: Project, folder: Path, description: RunDescription, summary: RunSummary
) -> RunView:
    """Describe the run of a `start_run` block, or a step by itself, by its journal.

    Args:
        project: The project.
        folder: The run's folder.
        description: What is written down there of the run.
        summary: The run as it stands in a list.
    """
    history, run = look_at(folder, description), description.run
    health = _health(folder, description)
    failure = history.failure
    artifacts = artifacts_of(run.name, HeldElsewhere(project, folder, run.name), history)
    step = StepView(
        name=run.step or run.name,
        status=summary.status,
        seconds=summary.seconds,
        attempt=run.attempt,
        id=run.id,
        started_at=summary.started_at,
        ended_at=summary.ended_at,
        error=str(failure) if failure else None,
        outputs={},
        urls={h.tracker: h.url for h in health if h.url},
        health=health,
        artifacts=artifacts,
        console=PrintedLines(folder, artifacts),
        **_logged(history, run.tags),
    )
    given = {**attrs.asdict(summary, recurse=False), "name": history.tags.get(NAME, summary.name)}
    url = next(iter(step.urls.values()), None)
    return RunView(
        **given,
        params=step.params,
        url=url,
        urls=step.urls,
        steps=(step,),
        health=health,
        children=ChildRuns(project, [run.id]),
        context=history.context,
        note=history.tags.get(NOTE) or None,
        tags=step.tags,
        sessions=_sessions_of(folder, run),
        above=_Above.of(project, run),
    )


def _sessions_of(folder: Path, run: Run) -> tuple[SessionView, ...]:
    return tuple(
        SessionView(
            status=opening.status,
            seconds=opening.seconds,
            started_at=moment(opening.started_at),
            ended_at=None if opening.ended_at is None else moment(opening.ended_at),
        )
        for opening in (openings_of(folder, run.started_at) if run.resumed else ())
    )


def annotated(view: RunView, said: Mapping[str, Annotation]) -> RunView:
    """Add what somebody has said of a run after its start, on whatever machine.

    Args:
        view: The run.
        said: What was said of it and of its steps, by their ids.
    """
    if view.id not in said:
        return view
    steps = tuple(
        attrs.evolve(step, tags={**step.tags, **said[step.id].tags}) if step.id in said else step
        for step in view.steps
    )
    own = said[view.id]
    name = view.name if own.name is None or view.kind == "step" else own.name
    tags = {**view.tags, **own.tags}
    return attrs.evolve(view, name=name, note=own.note or view.note, tags=tags, steps=steps)


def stored_view(project: Project, row: ListedRow, store: Store) -> RunView:
    """Describe a run whose journal is not here, by the store.

    Args:
        project: The project.
        row: The run, as the store has it.
        store: The store.
    """
    (step_row,) = store.find_runs_as_steps([row.id])
    step = _step_of_row(project, step_row, store.details_of([row.id]).get(row.id))
    return RunView(
        name=row.name,
        kind="step" if row.kind == "step" else "run",
        status=row.status,
        pipeline=row.experiment,
        seconds=step.seconds,
        started_at=moment(row.started_at or 0),
        ended_at=step.ended_at,
        id=row.id,
        stack=row.stack,
        params=step.params,
        url=next(iter(step.urls.values()), None),
        urls=step.urls,
        steps=(step,),
        health=step.health,
        context=step.context,
        tags=step.tags,
        above=_Above(
            project, pipeline_run=step_row.pipeline_run_id if row.kind == "step" else None
        ),
    )


def _origin_of(row: StepRunRow) -> str:
    """Give the run that logged: a cached step has what the run logged that made its result."""
    return str(row.metadata.get("cached_from", row.id))


def _step_of_row(project: Project, row: StepRunRow, details: RunDetails | None) -> StepView:
    folder = project.home / "runs" / _origin_of(row)
    description = load_description(folder)
    health = _health(folder, description)
    prefix = "experiment_tracker_url."
    urls = {k.removeprefix(prefix): v for k, v in row.metadata.items() if k.startswith(prefix)}
    urls |= {h.tracker: h.url for h in health if h.url}
    is_here = has_journal(folder)
    tracker = trackers_of_step(project, row, is_here=is_here)
    if is_here:
        tags = description.run.tags if description else {}
        history = look_at(folder, description)
        logged = _logged(history, tags)
    else:
        last = tuple(summary_of_last(key, value) for key, value in row.metrics.items())
        if details is not None:
            last = tuple(summary_of_row(metric) for metric in details.metrics) or last
        history = None
        logged = {
            "params": details.params if details else {},
            "tags": details.tags if details else {},
            "metrics": last,
            "curves": _curves_elsewhere(tracker, row, last),
            "context": Context.from_plain(details.context) if details and details.context else None,
        }
        logged |= {"lost": 0, "has_journal": False}
    has_times = row.started_at is not None
    artifacts = artifacts_of(row.name, tracker, history)
    if history is None and details is not None:
        artifacts.names = details.artifacts
    return StepView(
        name=row.name,
        status=row.status,
        seconds=seconds_of(row.started_at or 0, row.ended_at) if has_times else None,
        attempt=row.attempt,
        id=row.id,
        started_at=moment(row.started_at) if row.started_at is not None else None,
        ended_at=moment(row.ended_at) if row.ended_at is not None else None,
        error=row.error,
        artifacts=artifacts,
        console=PrintedLines(folder, artifacts, there=tracker),
        outputs={name: str(stored["uri"]) for name, stored in row.outputs.items()},
        urls=urls,
        health=health if row.status != "cached" else (),  # it was counted with its own run
        **logged,
    )


def _curves_elsewhere(
    tracker: HeldElsewhere | None, row: StepRunRow, last: Iterable[MetricSummary]
) -> Mapping[str, Curve]:
    """Give the curves of a run whose journal is not here: a tracker is asked when one is read."""
    if tracker is None:
        return {}
    known = {metric.key: metric for metric in last}

    @cache
    def columns() -> list[Column]:
        try:
            return list(tracker.columns())
        except TrackyardError as error:
            logger.warning("of metrics the last values alone are known: %s", error)
            at = row.ended_at or row.started_at or 0
            return [Column(key, [None], [m.last], [at]) for key, m in known.items()]

    return LateCurves(known, lambda: iter(columns()))


def _logged(history: History, tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        "params": history.params,
        "tags": {
            key: text for key, text in {**tags, **history.tags}.items() if key not in (NOTE, NAME)
        },
        "metrics": history.metrics,
        "lost": history.lost,
        "has_journal": True,
        "curves": history.curves,
        "context": history.context,
    }


def _health(folder: Path, description: RunDescription | None) -> tuple[TrackerHealth, ...]:
    return health_of(folder, description) if description else ()


def _joined(parts: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Join mappings; a key that several have is prefixed with the name of each."""
    parts = list(parts)
    counts: dict[str, int] = {}
    for _, mapping in parts:
        for key in mapping:
            counts[key] = counts.get(key, 0) + 1
    return {
        (f"{name}.{key}" if name and counts[key] > 1 else key): value
        for name, mapping in parts
        for key, value in mapping.items()
    }


def series_of(run: RunView, key: str, label: str | None = None) -> Series:
    """Give a metric for a picture: a look asks no tracker for more of its points.

    Args:
        run: The run.
        key: The metric, as `RunView.metrics` has it.
        label: Its name in a legend; its key by default.
    """
    name = key if label is None else label
    if all(step.has_journal for step in run.steps if step.metrics):
        return run.curves[key].series(name) if key in run.curves else Series(name, ())
    means = run.metrics[key].curve if key in run.metrics else ()
    return Series(name, means, unit="part of the run")


def _metrics_table(run: RunView) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{m.last:.6g}</td><td>{m.best:.6g}</td>"
        f"<td>{chart([series_of(run, name)])}</td></tr>"
        for name, m in list(run.metrics.items())[:MOST_CHARTS]
    )
    heads = "<tr><th>metric</th><th>last</th><th>best</th><th>curve</th></tr>"
    more = len(run.metrics) - MOST_CHARTS
    told = f"<p>and {more} more: see `metrics` and `curves`</p>" if more > 0 else ""
    return f"<table>{heads}{rows}</table>{told}" if rows else ""
