"""How do trackers, the store and runs stand, and what is to be typed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackyard import Client
from trackyard_page.rendering import Pages, is_part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def show_health(request: Request, client: Client, pages: Pages) -> Response:
    """Answer with the page at once, and with what was found when a script asks for it.

    Args:
        request: What is asked.
        client: Reads the project.
        pages: Renders the answer.
    """
    if not is_part(request):
        return pages.answer(request, "health.html", title="Health")
    found = client.doctor()
    alive = client.search_runs("status in ('running', 'unreachable')", limit=50)
    return pages.answer(request, "_health.html", found=found, alive=alive)
