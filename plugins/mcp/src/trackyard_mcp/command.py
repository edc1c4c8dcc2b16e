"""`trackyard mcp`: how does an agent ask a project?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trackyard.contract import find_project, remark

if TYPE_CHECKING:
    from mcp.server import MCPServer


@click.command()
@click.option("--http", is_flag=True, help="Listen for HTTP in place of stdin.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8766,
    show_default=True,
    help="Likewise; 0 for a free one.",
)
@click.option(
    "--token",
    envvar="TRACKYARD_PAGE_TOKEN",
    show_envvar=True,
    help="What clients send, as for the page; a new one by default.",
)
@click.option("--allowed-host", "hosts", multiple=True, help="A name that leads here.")
def mcp(*, http: bool, host: str, port: int, token: str | None, hosts: tuple[str, ...]) -> None:
    """Serve this project's runs to agents by the Model Context Protocol; nothing can be changed.

    An agent starts it by itself, as `trackyard mcp`, and speaks by stdin and stdout. With --http it
    goes on until Ctrl-C, and clients need the token that it prints.
    """
    project = find_project()
    from trackyard_mcp.server import make_server

    server = make_server(project.root)
    if not http:
        server.run("stdio")
        return
    _serve(server, host, port, token, hosts)


def _serve(
    server: MCPServer, host: str, port: int, token: str | None, hosts: tuple[str, ...]
) -> None:
    import secrets

    from trackyard_mcp.serving import PATH, app_of, listening
    from trackyard_page.access import Access, names_of

    token = token or secrets.token_urlsafe(32)
    with listening(app_of(server, Access(token, (*hosts, *names_of(host)))), host, port) as (
        http,
        opened,
    ):
        name = f"[{host}]" if ":" in host else host
        remark(f"http://{name}:{opened.getsockname()[1]}{PATH}")
        remark(f"Authorization: Bearer {token}")
        http.run(sockets=[opened])
