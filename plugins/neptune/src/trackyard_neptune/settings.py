"""Which server, token and project does Neptune's own configuration name?"""

from __future__ import annotations

import base64
import binascii
import json
import os

from trackyard.contract import Secret


def api_token(token: Secret | None) -> str | None:
    """Give the token of the tracker, else that of `NEPTUNE_API_TOKEN`."""
    return token.reveal() if token else os.environ.get("NEPTUNE_API_TOKEN")


def project_of(project: str | None) -> str | None:
    """Give the project of the tracker, else that of `NEPTUNE_PROJECT`."""
    return project or os.environ.get("NEPTUNE_PROJECT")


def server_url(token: str) -> str:
    """Give the address of the server that a token is for.

    Raises:
        ValueError: It is no token of Neptune's.
    """
    try:
        content = json.loads(base64.b64decode(token.strip(), validate=True))
        return str(content.get("api_url") or content["api_address"]).rstrip("/")
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "the API token is none of Neptune's; set `api_token`, or NEPTUNE_API_TOKEN"
        ) from error
