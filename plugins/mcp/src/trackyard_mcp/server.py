"""How do the tools and pages become a server of the protocol?"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from trackyard_mcp import documentation
from trackyard_mcp.answers import NOTICE
from trackyard_mcp.tools import Tools, read_docs, search_docs

INSTRUCTIONS = (
    "Experiment tracking by Trackyard: look at the runs of a project, compare them, read curves "
    "and what was printed. Nothing can be changed by these tools. Begin with search_runs; "
    f"search_docs says how code and commands are written. {NOTICE}"
)


def make_server(root: Path) -> MCPServer:
    """Make the server of a project.

    Args:
        root: The project's folder.
    """
    server = MCPServer(
        "trackyard",
        title="Trackyard",
        instructions=INSTRUCTIONS,
        version=version("trackyard-mcp"),
        log_level="WARNING",
    )
    hints = ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )
    tools: list[Callable[..., Any]] = [*Tools(root).all(), search_docs, read_docs]
    for tool in tools:
        server.tool(annotations=hints)(tool)
    for page in documentation.pages():
        _add_page(server, page)
    return server


def _add_page(server: MCPServer, page: str) -> None:
    @server.resource(f"trackyard://docs/{page}", name=page, mime_type="text/markdown")
    def read() -> str:
        return documentation.path_of(page).read_text(encoding="utf-8")
