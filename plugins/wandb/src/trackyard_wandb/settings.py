"""Which server, key and names does W&B's own configuration give, where a tracker's does not?"""

from __future__ import annotations

import configparser
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

# Fields of `wandb.Settings` that are the tracker's own, or a run's.
_MANAGED = {
    "api_key", "base_url", "entity", "project", "mode", "run_id", "run_name", "run_group",
    "run_job_type", "run_tags", "resume", "reinit", "root_dir",
}  # fmt: skip
DEFAULT_URL = "https://api.wandb.ai"


def check_settings(_: object, __: object, value: Mapping[str, object]) -> None:
    """Refuse fields of `wandb.Settings` that the tracker sets itself."""
    if refused := sorted(_MANAGED & set(value)):
        raise ValueError(f"must not have {', '.join(refused)}, which the tracker sets itself")


def check_tags(_: object, __: object, value: Sequence[str]) -> None:
    """Refuse tags that W&B does not take."""
    if wrong := [tag for tag in value if not 1 <= len(tag) <= 64]:
        raise ValueError(f"must have tags of 1 to 64 characters, not {wrong[0][:70]!r}")


def configured_url() -> str:
    """Give the server of `WANDB_BASE_URL`, else of W&B's settings file, else W&B's own."""
    url = os.environ.get("WANDB_BASE_URL") or _from_file("base_url") or DEFAULT_URL
    return url.rstrip("/")


def configured_api_key(url: str) -> str | None:
    """Give the key of `WANDB_API_KEY`, else of the netrc file that `wandb login` writes."""
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    host = urlsplit(url).hostname or ""
    for path in filter(None, (os.environ.get("NETRC"), "~/.netrc", "~/_netrc")):
        try:
            found = netrc.netrc(Path(path).expanduser()).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            continue
        if found and found[2]:
            return found[2]
    return None


def checked_key(key: str | None) -> str:
    """Refuse to go on without a key."""
    if not key:
        raise ValueError("there is no API key; set `api_key`, or type: wandb login")
    return key


def configured_name(name: str) -> str | None:
    """Give the entity or project of `WANDB_ENTITY`, `WANDB_PROJECT` or W&B's settings file."""
    return os.environ.get(f"WANDB_{name.upper()}") or _from_file(name)


def page_url(url: str) -> str:
    """Give the address of the page that belongs to a server."""
    return (os.environ.get("WANDB_APP_URL") or url.replace("://api.", "://", 1)).rstrip("/")


def _from_file(name: str) -> str | None:
    folder = os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(Path(folder).expanduser() / "settings")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return None
    return parser.get("default", name, fallback=None)
