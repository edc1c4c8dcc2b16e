"""The table of runs: which ones are shown, in which order and columns?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from trackyard import Client, TrackyardError
from trackyard_page.curves import is_system
from trackyard_page.rendering import Pages, is_part

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = 25
FIELDS = ("status", "pipeline", "started_at", "seconds", "kind", "ended_at", "id")
_USUAL = ("status", "pipeline", "started_at", "seconds")
_ORDERS = {"name": "name", "pipeline": "experiment", "status": "status", "kind": "kind",
           "started_at": "start_time", "ended_at": "end_time", "id": "run_id"}  # fmt: skip
_OPERATOR = re.compile(r"[<>=]|\b(like|ilike|in|is)\b", re.IGNORECASE)
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w/:.-]*")


@attrs.frozen
class Column:
    """A column of the table.

    Attributes:
        name: Such as `metrics.loss`.
        title: What stands above it.
        order: What sorts by it, or None.
    """

    name: str
    title: str
    order: str | None

    @property
    def entity(self) -> str:
        """`metrics`, `params`, `tags`, or nothing for a field of the run's own."""
        entity, dot, _ = self.name.partition(".")
        return entity if dot else ""


@attrs.frozen
class Query:
    """What a reader has asked the table for."""

    text: str = ""
    order: str = ""
    columns: tuple[str, ...] = ()
    page: int = 1

    @classmethod
    def of(cls, given: QueryParams) -> Query:
        """Read the address."""
        page = given.get("page", "1")
        return cls(
            text=given.get("filter", "").strip(),
            order=given.get("order_by", ""),
            columns=tuple(dict.fromkeys(given.getlist("column"))),
            page=int(page) if page.isdecimal() and 0 < int(page) < 10**9 else 1,
        )

    def address(self, **changed: Any) -> list[tuple[str, Any]]:
        """Give the address with something changed."""
        now = attrs.evolve(self, **changed)
        pairs: list[tuple[str, Any]] = [("filter", now.text), ("order_by", now.order)]
        pairs += [("column", name) for name in now.columns]
        return pairs if now.page == 1 else [*pairs, ("page", now.page)]

    def sorted_by(self, column: Column) -> str:
        """Say how the runs are sorted by a column: `ascending`, `descending`, or `none`."""
        if self.order in (f"{column.order} DESC",):
            return "descending"
        return "ascending" if column.order and self.order == column.order else "none"

    def next_order(self, column: Column) -> str:
        """Give the order behind a click on a column: best first, then the other way, then none."""
        state = self.sorted_by(column)
        first, then = "", " DESC"
        if column.name in ("started_at", "ended_at", "seconds"):
            first, then = " DESC", ""
        steps = {"none": first, {"": "ascending", " DESC": "descending"}[first]: then}
        return f"{column.order}{steps[state]}" if state in steps else ""


def as_filter(text: str) -> str:
    """Give a filter: words without an operator are looked for in names.

    Args:
        text: What a reader has typed.
    """
    if not text or _OPERATOR.search(text):
        return text
    words = [word.replace("'", "''") for word in text.split()]
    return " and ".join(f"name ilike '%{word}%'" for word in words)


def column_of(name: str) -> Column:
    """Describe a column by its name."""
    entity, dot, key = name.partition(".")
    if not dot:
        title = {"seconds": "took"}.get(name, name.removesuffix("_at"))
        return Column(name, title, _ORDERS.get(name))
    quoted = key if _PLAIN_KEY.fullmatch(key) else f"`{key}`"
    return Column(name, key, None if "`" in key or entity == "tags" else f"{entity}.{quoted}")


def usual_columns(runs: Sequence[Any]) -> list[str]:
    """Choose columns for a reader who has chosen none: what runs are told apart by."""
    names = [*_USUAL]
    for entity, most in (("metrics", 4), ("params", 4)):
        counts: dict[str, int] = {}
        for run in runs:
            for key in getattr(run, entity):
                if is_system(key):
                    continue
                counts[key] = counts.get(key, 0) + 1
        by_count = sorted(counts, key=lambda key: -counts[key])
        names += [f"{entity}.{key}" for key in by_count[:most]]
    return names


def show_runs(request: Request, client: Client, pages: Pages) -> Response:
    """Answer with the table, or with the part of it that changes.

    Args:
        request: What is asked.
        client: Reads the project.
        pages: Renders the answer.
    """
    query = Query.of(request.query_params)
    problem = ""
    try:
        text = as_filter(query.text)
        runs = list(client.search_runs(text, query.order, limit=PAGE, page=query.page))
        total = client.count_runs(text)
    except TrackyardError as error:
        runs, total, problem = [], 0, str(error)
    chosen = query.columns or tuple(usual_columns(runs))
    columns = [column_of(name) for name in chosen]
    known = client.list_columns()
    values: dict[str, Any] = {
        "query": query,
        "runs": runs,
        "columns": columns,
        "name_column": column_of("name"),
        "chosen": set(chosen),
        "offered": [name for name in dict.fromkeys((*FIELDS, *chosen, *known)) if name != "name"],
        "total": total,
        "last": max(1, -(-total // PAGE)),
        "first": (query.page - 1) * PAGE + 1,
        "problem": problem,
        "is_live": any(run.status == "running" for run in runs),
    }
    if is_part(request):
        return pages.answer(request, "_runs.html", **values)
    return pages.answer(request, "runs.html", title="Runs", **values)
