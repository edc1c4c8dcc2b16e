"""Which server and key does Comet's own configuration name, where a tracker's does not?"""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from trackyard_comet.server import DEFAULT_URL


def configured_url() -> str:
    """Give the server of `COMET_URL_OVERRIDE`, else Comet's own."""
    url = os.environ.get("COMET_URL_OVERRIDE") or _from_file("url_override") or DEFAULT_URL
    return url.rstrip("/").removesuffix("/clientlib")


def configured_api_key() -> str | None:
    """Give the key of `COMET_API_KEY`, else of the file that `comet login` writes."""
    return os.environ.get("COMET_API_KEY") or _from_file("api_key")


def configured_workspace() -> str | None:
    """Give the workspace of `COMET_WORKSPACE`, else of that file; None is the user's own."""
    return os.environ.get("COMET_WORKSPACE") or _from_file("workspace")


def configured_project() -> str | None:
    """Give the project of `COMET_PROJECT_NAME`, else of that file."""
    return os.environ.get("COMET_PROJECT_NAME") or _from_file("project_name")


def _from_file(name: str) -> str | None:
    path = Path(os.environ.get("COMET_CONFIG") or "~/.comet.config").expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
    except (configparser.Error, OSError, UnicodeDecodeError):
        return None
    return parser.get("comet", name, fallback=None)
