"""Which address shows what?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from trackyard import Client, RunNotFoundError, TrackyardError
from trackyard_page.access import Access, Guard
from trackyard_page.changes import Changes
from trackyard_page.compare import show_comparison
from trackyard_page.curves import Curves, show_curves
from trackyard_page.files import show_file, show_output, show_preview
from trackyard_page.health import show_health
from trackyard_page.pipeline import show_more, show_pipelines
from trackyard_page.rendering import Pages
from trackyard_page.run import show_console, show_run
from trackyard_page.table import show_runs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("trackyard")

Show = Callable[[Request, Client, Pages], Response]


def new_app(
    project: Path, access: Access, *, root_path: str = "", allow_changes: bool = False
) -> ASGIApp:
    """Give the page of a project, which nobody reads whom `access` does not let in.

    Args:
        project: A folder of the project.
        access: Who may read.
        root_path: The path below which a proxy serves it.
        allow_changes: Readers may tag, rename, end and delete runs.
    """
    client = Client(project)
    pages = Pages(project.name, access.form_token if allow_changes else None)

    def answer(show: Show) -> Callable[[Request], Response]:
        return lambda request: show(request, client, pages)  # in a thread of its own

    curves = Curves(client)
    static = StaticFiles(directory=str(files("trackyard_page") / "static"))
    routes = [
        Route("/", _to_runs),
        Route("/runs", answer(show_runs)),
        Route("/runs/{id}", answer(show_run)),
        Route("/runs/{id}/more", answer(show_more)),
        Route("/runs/{id}/console", answer(show_console)),
        Route("/runs/{id}/file", answer(show_file)),
        Route("/runs/{id}/preview", answer(show_preview)),
        Route("/runs/{id}/output", answer(show_output)),
        Route("/curves", lambda request: show_curves(request, curves)),
        Route("/pipelines", answer(show_pipelines)),
        Route("/compare", answer(show_comparison)),
        Route("/health", answer(show_health)),
        Mount("/static", static),
    ]
    if allow_changes:
        change = Changes(client, access).change
        routes.append(Route("/runs/{id}/change", change, methods=["POST"]))
    app = Starlette(
        routes=routes,
        exception_handlers={
            RunNotFoundError: partial(_problem, pages, 404),
            TrackyardError: partial(_problem, pages, 500),
            404: partial(_problem, pages, 404),
            500: partial(_broken, pages),
        },
    )
    login = pages.render(None, "login.html", root=root_path, title="Token")
    return _Below(Guard(app, access, login, ("/static/",)), root_path)


class _Below:
    """Serves an app below a path, whether or not the proxy before it takes the path away.

    Args:
        app: The app.
        root: The path, without a slash at its end.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app = app
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if self._root and scope["type"] == "http":
            is_below = path == self._root or path.startswith(f"{self._root}/")
            path = path if is_below else self._root + path
            scope = {**scope, "root_path": self._root, "path": path}
        await self._app(scope, receive, send)


def _to_runs(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/runs")


def _problem(pages: Pages, status: int, request: Request, error: Exception) -> Response:
    text = str(error) if isinstance(error, TrackyardError) else "There is no such page."
    return pages.answer(request, "error.html", status=status, title="Not shown", problem=text)


def _broken(pages: Pages, request: Request, error: Exception) -> Response:
    logger.debug("%s cannot be shown", request.url.path, exc_info=error)
    text = f"This page broke: {type(error).__name__}. The terminal of `trackyard page` says more."
    return pages.answer(request, "error.html", status=500, title="Broken", problem=text)
