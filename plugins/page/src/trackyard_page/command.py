"""`trackyard page`: how does one see pipelines and runs in a browser?"""

from __future__ import annotations

import asyncio
import html
import logging
import os
import secrets
import signal
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trackyard.contract import (
    ConfigError,
    TrackyardError,
    find_project,
    json_option,
    remark,
    say,
    show_json,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from trackyard_page.access import Access

TOKEN_VARIABLE = "TRACKYARD_PAGE_TOKEN"  # noqa: S105 - its name
PORT = 8642


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port; {PORT} by default, or a free one where that is taken; 0 takes a free one.",
)
@click.option(
    "--open/--no-open",
    "is_opened",
    default=None,
    help="Open it in a browser; by default on a terminal.",
)
@click.option(
    "--unix-socket",
    type=click.Path(path_type=Path),
    help="Listen on this socket, which this account alone may use, without a token.",
)
@click.option("--allow-changes", is_flag=True, help="Let readers tag, rename, end, delete runs.")
@click.option("--allowed-host", "hosts", multiple=True, help="A name that leads to the page.")
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Let in without a token what comes from this address: the proxy there asks who it is.",
)
@click.option(
    "--user-header", metavar="NAME", help="The header in which a trusted proxy names the user."
)
@click.option("--root-path", default="", help="The path below which a proxy serves the page.")
@click.option("--no-token", is_flag=True, help="Ask nobody for the token: the proxy alone does.")
@json_option
def page(
    *,
    host: str,
    port: int | None,
    is_opened: bool | None,
    unix_socket: Path | None,
    allow_changes: bool,
    hosts: tuple[str, ...],
    proxies: tuple[str, ...],
    user_header: str | None,
    root_path: str,
    no_token: bool,
    as_json: bool,
) -> None:
    """Serve a page of this project's pipelines and runs; Ctrl-C ends it.

    Its address, which holds the token that lets a reader in, goes to stdout. TRACKYARD_PAGE_TOKEN
    sets the token, for a page that is started again and again.
    """
    _check(host, unix_socket, proxies, user_header, no_token=no_token)
    project = find_project()
    root = f"/{root_path.strip('/')}".rstrip("/")
    # Also uvicorn raises the signal that ended it once more: the socket's file would stay behind.
    before = signal.signal(signal.SIGTERM, _exit)
    listening = _on_socket(unix_socket) if unix_socket else _on_port(host, port)
    number = 0 if unix_socket else int(listening.getsockname()[1])
    from trackyard_page.access import Access, names_of

    access = Access(
        token=None if no_token or unix_socket else os.environ.get(TOKEN_VARIABLE) or new_token(),
        hosts=(*hosts, *names_of(host)),
        proxies=proxies,
        user_header=user_header,
        is_private_socket=unix_socket is not None,
        cookie=f"trackyard-page-{number}",
    )
    try:
        app = _new_app(project.root, access, root, allow_changes=allow_changes)
        address = _address(unix_socket, host, number, root)
        link = address if access.token is None else f"{address}?token={access.token}"
        listening.listen(128)
        _show(link, as_json=as_json)
        is_terminal = sys.stdout.isatty() and not as_json
        with tempfile.TemporaryDirectory(prefix="trackyard-") as folder:
            if not unix_socket and (is_terminal if is_opened is None else is_opened):
                _open(link, Path(folder))
            _serve(app, listening)
    finally:
        listening.close()
        if unix_socket:
            unix_socket.unlink(missing_ok=True)
        signal.signal(signal.SIGTERM, before)


def new_token() -> str:
    """Give a token that nobody guesses."""
    return secrets.token_urlsafe(32)


def _check(
    host: str,
    unix_socket: Path | None,
    proxies: tuple[str, ...],
    user_header: str | None,
    *,
    no_token: bool,
) -> None:
    """Refuse what would let in whoever comes by.

    Raises:
        ConfigError: It would.
    """
    from trackyard_page.access import LOOPBACK

    if no_token and not proxies and unix_socket is None:
        where = "any account of this machine" if host in LOOPBACK else "anybody on the network"
        raise ConfigError(
            f"without a token {where} could read the page; leave out --no-token, "
            "or add --trusted-proxy ADDRESS or --unix-socket PATH"
        )
    if user_header and not proxies and unix_socket is None:
        raise ConfigError(
            f"anybody could name a user in {user_header}; add --trusted-proxy ADDRESS"
        )


def _on_port(host: str, port: int | None) -> socket.socket:
    """Listen on a port: the one that is asked for, or the usual one, or else a free one.

    Raises:
        TrackyardError: It is taken, or is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in (port,) if port is not None else (PORT, 0):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
        except OSError as error:
            listening.close()
            if number == PORT and port is None:
                continue
            raise TrackyardError(
                f"cannot listen on {host}:{number}: {error.strerror}; type: trackyard page --port 0"
            ) from error
        return listening
    raise AssertionError("a free port was asked for")


def _on_socket(path: Path) -> socket.socket:
    """Listen on a Unix socket that this account alone may use.

    Raises:
        TrackyardError: It cannot be made there, or another process serves it.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            _refuse_living(path)
            path.unlink()
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        listening.close()
        raise TrackyardError(f"{path}: cannot listen there: {error.strerror or error}") from error
    except TrackyardError:
        listening.close()
        raise
    return listening


def _refuse_living(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise TrackyardError(f"{path}: another process serves it; type another path")


def _address(unix_socket: Path | None, host: str, port: int, root: str) -> str:
    if unix_socket is not None:
        return f"unix:{unix_socket}"
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - compared only
    shown = f"[{name}]" if ":" in name and not name.startswith("[") else name
    return f"http://{shown}:{port}{root}/"


def _new_app(project: Path, access: Access, root: str, *, allow_changes: bool) -> ASGIApp:
    from trackyard_page.app import new_app

    return new_app(project, access, root_path=root, allow_changes=allow_changes)


def _show(link: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"url": link, "process": os.getpid()})
    else:
        say(link)
        if sys.stdout.isatty():
            remark("Ctrl-C ends it.")
    sys.stdout.flush()


def _serve(app: ASGIApp, listening: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        proxy_headers=False,  # whom a proxy speaks for is decided by `Access`
        server_header=False,
        timeout_graceful_shutdown=1,
        lifespan="off",
    )
    logging.getLogger("uvicorn.error").addFilter(_is_said)
    uvicorn.Server(config).run(sockets=[listening])


def _is_said(record: logging.LogRecord) -> bool:
    """Tell whether a message is for people: that its end cuts a request off is none."""
    error = record.exc_info[1] if record.exc_info else None
    is_cut_off = isinstance(error, asyncio.CancelledError)
    return not is_cut_off and not str(record.msg).startswith("Cancel %s running task")


def _exit(number: int, _: object) -> None:
    sys.exit(128 + number)


def _open(link: str, folder: Path) -> None:
    """Open a link in a browser by a file that leads there.

    Every account of the machine sees the arguments of a browser's process, and the link is as good
    as the token in it.

    Args:
        link: The link.
        folder: A folder that this account alone may read.
    """
    import webbrowser

    shown = html.escape(link)
    file = folder / "page.html"
    file.write_text(
        f'<!doctype html><meta http-equiv="refresh" content="0; url={shown}">'
        f'<a href="{shown}">Trackyard</a>',
        encoding="utf-8",
    )
    if not webbrowser.open(file.as_uri()):
        remark("Note: no browser was found; open the address yourself")
