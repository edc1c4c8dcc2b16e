"""What readers may change, where they may: tags, the note, the name, the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from trackyard import Client, TrackyardError
from trackyard_page.access import Access
from trackyard_page.rendering import link

if TYPE_CHECKING:
    from starlette.requests import Request

_MOST = 100_000


class Changes:
    """Does what a form asks for.

    Args:
        client: Changes the project.
        access: Knows the forms of this page.
    """

    def __init__(self, client: Client, access: Access) -> None:
        self._client = client
        self._access = access

    async def change(self, request: Request) -> Response:
        """Change a run as a form says, then show it again.

        Args:
            request: What is asked.

        Raises:
            TrackyardError: It cannot be changed so.
        """
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST:
                return PlainTextResponse("This form is too long.", 413)
        form = {
            key: values[-1] for key, values in parse_qs(body.decode("utf-8", "replace")).items()
        }
        if not self._access.is_form_token(form.get("form_token", "")):
            return PlainTextResponse("This form is of an earlier page; load the page again.", 403)
        id_ = request.path_params["id"]
        await run_in_threadpool(self._do, id_, form)
        path = "runs" if form.get("action") == "delete" else f"runs/{id_}"
        return RedirectResponse(link(request.scope.get("root_path", ""), path), 303)

    def _do(self, id: str, form: dict[str, str]) -> None:
        client = self._client
        match form.get("action"):
            case "tag":
                client.set_tags(id, {form.get("key", ""): form.get("value", "")})
            case "note":
                client.set_note(id, form.get("note", ""))
            case "rename":
                client.rename_run(id, form.get("name", ""))
            case "end":
                client.end_run(id)
            case "delete":
                client.delete_run(id)
            case other:
                raise TrackyardError(f"there is no action {other!r}")
