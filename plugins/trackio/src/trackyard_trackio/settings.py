"""Where is a Space, and by which token may one write to it or to a server?"""

from __future__ import annotations

import os
import re
from pathlib import Path

from trackyard.contract import Secret


def space_url(space_id: str) -> str:
    """Give the address of a Space, as Hugging Face makes it of its name."""
    return f"https://{re.sub(r'[/_.]', '-', space_id.lower())}.hf.space"


def headers_for(token: Secret | None, space_id: str | None) -> dict[str, str]:
    """Give what authorizes requests: the token of the tracker, else that of Trackio's settings.

    Args:
        token: The tracker's token, or None.
        space_id: The Space on Hugging Face, or None for another server.
    """
    if space_id:
        known = token.reveal() if token else os.environ.get("HF_TOKEN") or _kept_token()
        return {"Authorization": f"Bearer {known}"} if known else {}
    known = token.reveal() if token else os.environ.get("TRACKIO_WRITE_TOKEN")
    return {"X-Trackio-Write-Token": known} if known else {}


def _kept_token() -> str | None:
    """Give the token that `hf auth login` has kept."""
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    path = Path(os.environ.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
