"""How does the SDK's library for tokens come to use one server that has no TLS, and no other?

It refuses such servers unless a variable of the environment is set, which holds for the whole
process, the user's own clients included, and is handed on to what that starts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

_LIBRARIES = ("oauthlib", "requests_oauthlib")
_CHECK = "is_secure_transport"
_allowed: ContextVar[str] = ContextVar("trackyard-neptune-without-tls", default="")


@contextmanager
def without_tls(url: str) -> Iterator[None]:
    """Let this thread, in the block, send tokens to a server whose address says no TLS.

    Args:
        url: The server's address.
    """
    is_plain = url.lower().startswith("http://")
    token = _allowed.set(f"{url.lower().rstrip('/')}/" if is_plain else "")
    try:
        yield
    finally:
        _allowed.reset(token)


def insecure_transport() -> list[tuple[object, str, Any]]:
    """Give what replaces the library's check meanwhile, for `process_values`."""
    import requests_oauthlib  # noqa: F401 - it has the check under names of its own

    _original()  # before the first replacement
    modules = [m for n, m in list(sys.modules.items()) if n.partition(".")[0] in _LIBRARIES]
    return [(module, _CHECK, _is_secure) for module in modules if hasattr(module, _CHECK)]


def _is_secure(uri: str) -> bool:
    allowed = _allowed.get()
    return bool(allowed and uri.lower().startswith(allowed)) or _original()(uri)


@cache
def _original() -> Callable[[str], bool]:
    from oauthlib.oauth2.rfc6749 import utils

    found: Callable[[str], bool] = vars(utils)[_CHECK]
    return found
