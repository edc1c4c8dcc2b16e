"""Who may ask the server over HTTP?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from trackyard import ConfigError
from trackyard_page.access import Guard

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from starlette.types import ASGIApp

    from trackyard_page.access import Access

PATH = "/mcp"


def app_of(server: MCPServer, access: Access) -> ASGIApp:
    """Make the application that serves over HTTP those whom the page would let in.

    Args:
        server: The server.
        access: Who may ask.
    """
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        # The guard looks at `Host` and `Origin`, as for the page.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return Guard(app, access)


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
