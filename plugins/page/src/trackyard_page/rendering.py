"""How do values become HTML? Everything that a run contains is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from trackyard_page import __version__
from trackyard_page.access import USER

if TYPE_CHECKING:
    from starlette.requests import Request

# A status by its shape as well as by its colour, drawn in a square of 12.
SHAPES = {
    "finished": "M2 6.5 5 9.5 10 3",
    "failed": "M3 3 9 9M9 3 3 9",
    "crashed": "M6 1.5 11 10.5H1ZM6 5V7.5",
    "killed": "M3 3H9V9H3Z",
    "running": "M6 2A4 4 0 1 1 2 6",
    "cached": "M9.5 3.5A4 4 0 1 0 10 6M9.5 1V3.8H6.8",
    "skipped": "M2 6H10",
    "unreachable": "M4 4.5A2 2 0 1 1 6.5 6.4V7.4M6.5 9.6V10",
    "pending": "M6 2A4 4 0 1 0 6.01 2Z",
}
_WIDTH, _HEIGHT = 96, 24


def new_environment() -> Environment:
    """Give what renders the templates of this package."""
    environment = Environment(
        loader=PackageLoader("trackyard_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, seconds=seconds, moment=moment, spark=spark, bytes=size, value=value
    )
    environment.globals.update(shapes=SHAPES, version=__version__)
    return environment


def link(root: str, path: str, query: Iterable[tuple[str, Any]] | Mapping[str, Any] = ()) -> str:
    """Give an address of the page.

    Args:
        root: The path below which the page is served.
        path: The path, whose parts are quoted.
        query: What follows; what is empty is left out.
    """
    pairs = query.items() if isinstance(query, Mapping) else query
    rest = urlencode([(key, item) for key, item in pairs if item not in ("", None)])
    return f"{root}/{quote(path)}{'?' if rest else ''}{rest}"


class Pages:
    """Answers requests with templates.

    Args:
        changes: What readers may change: nothing where it is None, else the token of forms.
        place: What the project is called.
    """

    def __init__(self, place: str, changes: str | None = None) -> None:
        self._environment = new_environment()
        self._changes = changes
        self._place = place

    def answer(
        self, request: Request | None, template: str, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """Give a page, or a part of one.

        Args:
            request: What is answered.
            template: The name of the template.
            status: Of HTTP.
            values: What the template shows.
        """
        return HTMLResponse(self.render(request, template, **values), status)

    def render(self, request: Request | None, template: str, **values: Any) -> str:
        """Render a template.

        Args:
            request: What is answered; None where that is not known yet.
            template: The name of the template.
            values: What the template shows.
        """
        root = request.scope.get("root_path", "") if request else values.pop("root", "")

        def to(path: str, query: Any = (), **named: Any) -> str:
            pairs = list(query.items() if isinstance(query, Mapping) else query)
            return link(root, path, [*pairs, *named.items()])

        user = request.scope.get(USER) if request else None
        return self._environment.get_template(template).render(
            user=user,
            section=_section_of(request),
            to=to,
            root=root,
            place=self._place,
            changes=self._changes,
            **values,
        )


def _section_of(request: Request | None) -> str:
    """Name the entry of the menu below which a page stands."""
    path = request.url.path.removeprefix(request.scope.get("root_path", "")) if request else ""
    return "Runs" if path.startswith(("/runs/", "/compare")) else ""


def is_part(request: Request) -> bool:
    """Tell whether a script of the page asks for a part of it."""
    is_history = request.headers.get("hx-history-restore-request") == "true"
    return request.headers.get("hx-request") == "true" and not is_history


def number(found: Any) -> str:
    """Give a number as short as it can be told from its neighbours."""
    if found is None:
        return ""
    if isinstance(found, float) and not math.isfinite(found):
        return str(found)
    if isinstance(found, float):
        return f"{found:,.0f}" if 1e4 <= abs(found) < 1e9 else f"{found:.4g}"
    return str(found)


def value(found: Any) -> str:
    """Give a param's or an attribute's value as a text."""
    if isinstance(found, datetime):
        return moment(found)
    if isinstance(found, bool) or found is None:
        return {True: "true", False: "false", None: ""}[found]
    if isinstance(found, float):
        return f"{found:.6g}"
    return str(found)


def seconds(found: float | None) -> str:
    """Give a duration in at most two units."""
    if found is None:
        return ""
    if found < 60:
        return f"{found:.1f} s" if found >= 1 else f"{found:.2f} s"
    minutes, rest = divmod(int(found), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def moment(found: datetime | None) -> str:
    """Give a time of this machine's zone; the year only where it is another one."""
    if found is None:
        return ""
    local, now = found.astimezone(), datetime.now(UTC).astimezone()
    if local.year != now.year:
        return f"{local.day} {local:%b %Y}"
    return f"{local:%H:%M:%S}" if local.date() == now.date() else f"{local.day} {local:%b %H:%M}"


def size(count: float | None) -> str:
    """Give bytes in the unit that fits."""
    if count is None:
        return ""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def spark(values: Sequence[float]) -> str:
    """Give the points of a small curve, as SVG has them in a field of 96 by 24; "" for none."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    low, high = min(finite), max(finite)
    spread, last = (high / 2 - low / 2) or 1.0, len(values) - 1
    return " ".join(
        f"{1 + index * (_WIDTH - 2) / last:.1f},"
        f"{(_HEIGHT - 4) * (1 - (item / 2 - low / 2) / spread) + 2:.1f}"
        for index, item in enumerate(values)
        if math.isfinite(item)
    )
