"""Who may read the page: by which token, through which host, behind which proxy?

`Guard` is plain ASGI, and whatever else is served over HTTP beside the page stands behind it, too:
an endpoint for programs and agents takes the same token as `Authorization: Bearer`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Scripts, styles and requests of this page alone; nothing inline, no frame of somebody else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; media-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# Of what a run contains: no script, no request, no origin, also where it is opened on its own.
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "SAMEORIGIN",
    "cache-control": "no-store",
}
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SAFE = ("GET", "HEAD", "OPTIONS")
# Where the guard leaves the name of the user, in an ASGI scope.
USER = "trackyard.user"


@attrs.frozen
class Access:
    """Who may read.

    Attributes:
        token: What lets a reader in; None where the socket or the proxy decides.
        hosts: Names by which the page may be asked for, beside addresses and `localhost`.
        proxies: Addresses of proxies that are believed; they have let the reader in.
        user_header: Where such a proxy says who reads.
        is_private_socket: It is served on a Unix socket of this account's.
        cookie: The name of the cookie: each port of a host needs one of its own.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    user_header: str | None = None
    is_private_socket: bool = False
    cookie: str = "trackyard-page"
    _key: bytes = attrs.field(factory=lambda: secrets.token_bytes(32), repr=False)

    def is_token(self, text: str) -> bool:
        """Tell whether a text is the token; it takes as long for each."""
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())

    @property
    def pass_(self) -> str:
        """What the cookie holds: it lets in for as long as the token does, and is not the token."""
        return hmac.new((self.token or "").encode(), b"cookie", hashlib.sha256).hexdigest()

    @property
    def form_token(self) -> str:
        """What each form of this page sends back, and another page cannot know."""
        return hmac.new(self._key, b"form", hashlib.sha256).hexdigest()

    def is_form_token(self, text: str) -> bool:
        """Tell whether a form is one of this page's."""
        return hmac.compare_digest(text.encode(), self.form_token.encode())

    def knows_host(self, header: str) -> bool:
        """Tell whether a page may be asked for by this name.

        Whoever's name leads here by a trick of DNS would read with the reader's own browser. An
        address in the header is no name, so that no DNS was asked.

        Args:
            header: `Host`, with or without a port.
        """
        if self.is_private_socket:
            return True
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        return name in ("localhost", *self.hosts) or _is_address(name)

    def is_proxy(self, scope: Scope) -> bool:
        """Tell whether a request comes from a proxy that is believed."""
        if self.is_private_socket:
            return bool(self.proxies or self.user_header)
        client = scope.get("client")
        return client is not None and client[0] in self.proxies


def names_of(host: str) -> tuple[str, ...]:
    """Give the names under which one asks for what listens on an address, beside the usual ones.

    Args:
        host: The address.
    """
    return () if host in LOOPBACK else (host, socket.gethostname())


class Guard:
    """Lets nobody pass who may not read, and has each answer bear the headers that keep it safe.

    Args:
        app: What is guarded.
        access: Who may read.
        login: The page that asks for the token.
        public: Paths below the root that everybody may read: style sheets, scripts.
    """

    def __init__(
        self, app: ASGIApp, access: Access, login: str = "", public: Iterable[str] = ()
    ) -> None:
        self._app = app
        self._access = access
        self._login = login
        self._public = tuple(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page speaks no other protocol
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        scope[USER] = self._user(scope)
        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> Response | None:
        """Give the answer to who may not read; None where the request may pass."""
        headers, access = Headers(scope=scope), self._access
        if not access.knows_host(headers.get("host", "")):
            text = "Nothing is served under that name; start it again with --allowed-host NAME."
            return PlainTextResponse(text, 400)
        if scope["method"] not in _SAFE and not _is_same_origin(headers):
            return PlainTextResponse("Another site's page may change nothing here.", 403)
        if self._may_read(scope, headers):
            return None
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if scope["method"] == "GET" and access.is_token(query.get("token", "")):
            return self._welcome(scope)
        if "text/html" in headers.get("accept", ""):
            return HTMLResponse(self._login, 401)
        text = "A token is needed, as in the printed link, or as `Authorization: Bearer ...`."
        return PlainTextResponse(text, 401, {"www-authenticate": 'Bearer realm="trackyard"'})

    def _may_read(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        access = self._access
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if access.is_private_socket or access.is_proxy(scope) or path.startswith(self._public):
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and access.is_token(bearer.strip()):
            return True
        given = _cookies(headers).get(access.cookie, "")
        return access.token is not None and hmac.compare_digest(
            given.encode(), access.pass_.encode()
        )

    def _welcome(self, scope: Scope) -> Response:
        """Give the cookie, and lead to the address without the token."""
        root = scope.get("root_path", "")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        rest = urlencode([(key, value) for key, value in query if key != "token"])
        path = "/" + scope["path"].lstrip("/\\")  # `//host` would lead elsewhere
        answer = RedirectResponse(f"{path}{'?' if rest else ''}{rest}", 303)
        is_secure = scope.get("scheme") == "https"
        answer.set_cookie(
            *(self._access.cookie, self._access.pass_),
            path=root or "/",
            httponly=True,
            samesite="lax",  # a link in a chat opens the page, and no form of another site does
            secure=is_secure,
            max_age=30 * 24 * 3600,
        )
        return answer

    def _user(self, scope: Scope) -> str | None:
        access = self._access
        if access.user_header is None or not access.is_proxy(scope):
            return None
        return Headers(scope=scope).get(access.user_header) or None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same_origin(headers: Mapping[str, str]) -> bool:
    """Tell whether a request that may change something comes from a page of the same origin.

    Programs, which have no page, send neither of these headers.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _cookies(headers: Mapping[str, str]) -> dict[str, str]:
    try:
        found = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in found.items()}
