"""Which runs fit a filter, with their params, tags and metrics, and how are they made a frame?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, overload

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.journal.pending import to_be_indexed_folders
from trackyard.project.configuration import Project
from trackyard.runs.curves import summary_of_row
from trackyard.runs.lists import moment, seconds_of_row, url_of, with_unreachable
from trackyard.store.details import MetricRow, RunDetails, last_values
from trackyard.store.listing import has_store
from trackyard.store.rows import ListedRow
from trackyard.system.showing import Link, Shown, html_table, in_a_cell, says

if TYPE_CHECKING:
    from trackyard.store import Store

Side = Literal["last", "least", "greatest"]


@attrs.frozen(repr=False)
class SearchedRun(Shown):
    """A run that a search has found, with what was logged in it or in its steps."""

    name: str = attrs.field(metadata=says("Its name"))
    pipeline: str = attrs.field(metadata=says("Its pipeline, or its experiment without one"))
    status: str = attrs.field(metadata=says("As in `runs list`"))
    seconds: float | None = attrs.field(metadata=says("From its start to its end, or to now"))
    started_at: datetime = attrs.field(metadata=says("When it started (UTC)"))
    ended_at: datetime | None = attrs.field(metadata=says("When it ended"))
    id: str = attrs.field(metadata=says("Its id"))
    kind: str = attrs.field(metadata=says("As in `runs list`"))
    params: Mapping[str, Any] = attrs.field(metadata=says("Its params"))
    tags: Mapping[str, str] = attrs.field(metadata=says("Its tags"))
    metrics: Mapping[str, float] = attrs.field(
        metadata=says("Of each metric the last value, or the least or greatest where that is asked")
    )
    _known: tuple[MetricRow, ...] = attrs.field(
        default=(), eq=False, repr=False, metadata={"help": "Draws them", "json": False}
    )

    @property
    def curves(self) -> dict[str, tuple[float, ...]]:
        """Of each metric a few values, as the small curve of a table shows them."""
        return {row.key: summary_of_row(row).curve for row in self._known}

    def value_of(self, column: str) -> Any:
        """Give a column of a table: `params.rate`, `metrics.loss`, `tags.stage` or a field's name.

        Args:
            column: Its name.

        Raises:
            TrackyardError: There is no such column.
        """
        entity, _, key = column.partition(".")
        if key and entity in ("params", "metrics", "tags"):
            return getattr(self, entity).get(key)
        if column not in attrs.fields_dict(type(self)) or column in ("params", "metrics", "tags"):
            raise TrackyardError(
                f"no column {column!r}; type such as params.rate, metrics.loss, tags.stage, status"
            )
        return getattr(self, column)


class FoundRuns(Sequence[SearchedRun]):
    """The runs that a search has found, in their order.

    Args:
        runs: The runs.
        project: The project, for their addresses.
    """

    def __init__(self, runs: Iterable[SearchedRun], project: Project | None = None) -> None:
        self._runs = list(runs)
        self._project = project

    @overload
    def __getitem__(self, index: int) -> SearchedRun: ...

    @overload
    def __getitem__(self, index: slice) -> FoundRuns: ...

    def __getitem__(self, index: int | slice) -> SearchedRun | FoundRuns:
        """Give one of them, or some."""
        return (
            FoundRuns(self._runs[index], self._project)
            if isinstance(index, slice)
            else self._runs[index]
        )

    def __len__(self) -> int:
        """Give their number."""
        return len(self._runs)

    def columns(self) -> list[str]:
        """Name the columns of a table of them: fields, then params, metrics and tags."""
        names = ["name", "pipeline", "status", "seconds", "started_at", "ended_at", "id", "kind"]
        for entity in ("params", "metrics", "tags"):
            keys = dict.fromkeys(key for run in self._runs for key in getattr(run, entity))
            names += [f"{entity}.{key}" for key in keys]
        return names

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give each run as a row of that table."""
        columns = self.columns()
        return ({name: run.value_of(name) for name in columns} for run in self._runs)

    def to_pandas(self) -> Any:
        """Give them as a pandas frame.

        Raises:
            TrackyardError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise TrackyardError("pandas is not installed; type: pip install pandas") from error
        return pandas.DataFrame(list(self.rows()), columns=self.columns())

    def to_polars(self) -> Any:
        """Give them as a polars frame; params of several types become texts.

        Raises:
            TrackyardError: polars is not installed.
        """
        try:
            import polars
        except ModuleNotFoundError as error:
            raise TrackyardError("polars is not installed; type: pip install polars") from error
        rows = list(self.rows())
        data = {name: [row[name] for row in rows] for name in self.columns()}
        for values in data.values():
            kinds = {type(value) for value in values if value is not None}
            if len(kinds) > 1 and not kinds <= {int, float}:
                values[:] = [None if value is None else str(value) for value in values]
        return polars.DataFrame(data, strict=False)

    def __repr__(self) -> str:
        """Give a table of the first ones."""
        names = ", ".join(run.name for run in self._runs[:5])
        more = f" and {len(self) - 5} more" if len(self) > 5 else ""
        return f"<FoundRuns {len(self)}: {names}{more}>" if self._runs else "<FoundRuns 0>"

    def _repr_html_(self) -> str:
        columns = [name for name in self.columns() if name not in ("ended_at", "kind", "id")]
        rows = [
            [self._linked(run), *(in_a_cell(run.value_of(name)) for name in columns[1:])]
            for run in self._runs[:50]
        ]
        more = f"<p>and {len(self) - 50} more</p>" if len(self) > 50 else ""
        return html_table(columns, rows) + more

    def _linked(self, run: SearchedRun) -> Link:
        return Link(run.name, url_of(self._project, run.id) if self._project else None)


def search_runs(
    project: Project,
    filter: str = "",
    order_by: str | Sequence[str] = "",
    *,
    limit: int = 100,
    page: int = 1,
    side: Side = "last",
    store: Store | None = None,
) -> FoundRuns:
    """Find runs of a project by a filter.

    Args:
        project: The project.
        filter: See `store.filters`.
        order_by: Such as `metrics.loss DESC`; of several, the next one counts where the one before
            is equal.
        limit: How many at most.
        page: Which so many of them, from 1.
        side: Which value of metrics counts in sorting and is given.
        store: The project's, where it is open.

    Raises:
        FilterError: The filter or `order_by` is wrong.
        TrackyardError: There is no such page, or the store cannot be read.
    """
    if limit < 1 or page < 1:
        raise TrackyardError("limit and page are whole numbers from 1")
    from trackyard.store.search import details_with_steps, search

    with _settled(project, store) as settled:
        if settled is None:
            return FoundRuns([])
        skip = (page - 1) * limit
        rows = search(settled, filter, order_by, side=side, most=limit, skip=skip)
        details = details_with_steps(settled, [row.id for row in rows])
    found = [_of_row(row, details[row.id], side) for row in rows]
    return FoundRuns(with_unreachable(project, found), project)


def count_runs(project: Project, filter: str = "", store: Store | None = None) -> int:
    """Count the runs of a project that fit a filter.

    Args:
        project: The project.
        filter: See `store.filters`.
        store: The project's, where it is open.

    Raises:
        FilterError: The filter is wrong.
        TrackyardError: The store cannot be read.
    """
    from trackyard.store.search import count

    with _settled(project, store) as settled:
        return 0 if settled is None else count(settled, filter)


def list_columns(project: Project, most: int, store: Store | None = None) -> list[str]:
    """Name the params, metrics and tags that runs of a project have.

    Args:
        project: The project.
        most: So many of each at most.
        store: The project's, where it is open.

    Raises:
        TrackyardError: The store cannot be read.
    """
    from trackyard.store.search import keys_of

    with _settled(project, store) as settled:
        if settled is None:
            return []
        entities = ("metrics", "params", "tags")
        return [f"{entity}.{key}" for entity in entities for key in keys_of(settled, entity, most)]


@contextmanager
def _settled(project: Project, opened: Store | None) -> Iterator[Store | None]:
    """Give the store, in which stands what runs here have left; None where there is nothing.

    One that was open stays so.
    """
    if not (has_store(project) or to_be_indexed_folders(project.home)):
        yield None
        return
    from trackyard.recovery.settling import settle
    from trackyard.store import Store

    store = opened or Store.of(project)
    try:
        settle(project, store)
        yield store
    finally:
        if opened is None:
            store.close()


def _of_row(row: ListedRow, details: RunDetails, side: Side) -> SearchedRun:
    metrics = last_values({metric.key: metric for metric in details.metrics})
    if side != "last":
        known = {metric.key: getattr(metric, side) for metric in details.metrics}
        metrics = {key: math.nan if value is None else value for key, value in known.items()}
    started_at = row.started_at or 0
    return SearchedRun(
        name=row.name,
        pipeline=row.experiment,
        status=row.status,
        seconds=seconds_of_row(row),
        started_at=moment(started_at),
        ended_at=None if row.ended_at is None else moment(row.ended_at),
        id=row.id,
        kind=row.kind,
        params=details.params,
        tags=details.tags,
        metrics=metrics,
        known=details.metrics,
    )
