"""How does a program search the runs of a project?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trackyard.project.configuration import Project

if TYPE_CHECKING:
    from trackyard.runs.searching import FoundRuns


class Searching:
    """The part of a client that searches runs."""

    def search_runs(
        self,
        filter: str = "",
        order_by: str | Sequence[str] = "",
        *,
        limit: int = 100,
        page: int = 1,
    ) -> FoundRuns:
        """Find runs of pipelines and of blocks by a filter; `to_pandas()` makes a frame of them.

        A filter is such as `metrics.loss < 0.1 and params.rate = '0.2' and tags.stage = 'prod'`;
        `metrics` are last values, those of a pipeline's run are its steps'. Beside `and` there
        are `or`, `not` and parentheses.

        Args:
            filter: The filter; an empty one finds every run.
            order_by: Such as `metrics.loss` or `start_time DESC`; the latest first by default.
            limit: How many at most.
            page: Which so many of them, from 1.

        Raises:
            TrackyardError: The filter is wrong; the message points at the word.
        """
        from trackyard.runs.searching import search_runs

        store = self._store_if_any
        return search_runs(self._project, filter, order_by, limit=limit, page=page, store=store)

    def count_runs(self, filter: str = "") -> int:
        """Count the runs that `search_runs` finds.

        Args:
            filter: As there; an empty one counts every run.

        Raises:
            TrackyardError: The filter is wrong; the message points at the word.
        """
        from trackyard.runs.searching import count_runs

        return count_runs(self._project, filter, self._store_if_any)

    def list_columns(self, most: int = 500) -> list[str]:
        """Name what runs have: params, metrics and tags, as `metrics.loss`.

        Args:
            most: So many of each at most, in the order of their names.
        """
        from trackyard.runs.searching import list_columns

        return list_columns(self._project, most, self._store_if_any)

    @property
    def _project(self) -> Project:
        raise NotImplementedError

    @property
    def _store_if_any(self) -> Any:
        raise NotImplementedError
