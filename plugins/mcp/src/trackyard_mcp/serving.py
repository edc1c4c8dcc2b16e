"""Who may ask the server over HTTP?"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from trackyard import ConfigError

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"


class WithToken:
    """Let those pass who send the token as `Authorization: Bearer ...`.

    Args:
        app: What answers them.
        token: The token.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "http":
            given = Headers(scope=scope).get("authorization", "").encode()
            if not secrets.compare_digest(given, self._expected):
                headers = {"WWW-Authenticate": "Bearer"}
                refusal = PlainTextResponse("give the token that was printed", 401, headers)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def app_of(server: MCPServer, token: str, hosts: Sequence[str]) -> ASGIApp:
    """Make the application that serves over HTTP.

    Args:
        server: The server.
        token: What clients have to send.
        hosts: Names under which it is reached: a page of the web that resolves its own name to
            this machine is refused.
    """
    names = [f"[{host}]" if ":" in host else host for host in hosts]
    security = TransportSecuritySettings(
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],
        allowed_origins=[f"http://{name}:*" for name in names],
    )
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        transport_security=security,
    )
    return WithToken(app, token)


@contextmanager
def listening(app: ASGIApp, host: str, port: int) -> Iterator[tuple[uvicorn.Server, socket.socket]]:
    """Open the address, so that clients may come before the server runs.

    Args:
        app: What answers.
        host: Address to listen on.
        port: Likewise; 0 for one that is free.

    Raises:
        ConfigError: Nobody can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"{host}, port {port}: {error.strerror}; type: trackyard mcp --http --port 0"
        ) from error
    with opened:
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        yield uvicorn.Server(config), opened
