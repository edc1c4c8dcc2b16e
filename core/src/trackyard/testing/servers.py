"""What does a tracker's server do when something is wrong with it?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from trackyard.testing.faulty_relay import at_port, place_of

# What each kind of broken server answers to any request; None is no answer at all.
ANSWERS: dict[str, bytes | None] = {
    "hangs": None,
    "is busy (429)": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n"
    b"Content-Length: 4\r\nConnection: close\r\n\r\nbusy",
    "fails (500)": b"HTTP/1.1 500 Internal Server Error\r\n"
    b"Content-Length: 4\r\nConnection: close\r\n\r\noops",
    "is away (503)": b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Length: 4\r\nConnection: close\r\n\r\ngone",
    "gives half an answer": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b'Content-Length: 1000\r\n\r\n{"run": {"info": ',
}

# What a server answers that does not know the secret.
REFUSAL = (
    b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n"
    b'Content-Length: 24\r\nConnection: close\r\n\r\n{"error": "not allowed"}'
)


@contextmanager
def broken_server(answer: bytes | None) -> Iterator[str]:
    """Serve one answer to everything, on a port of its own; give the server's address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        if answer is not None:
            Thread(target=_serve, args=(listening, answer), daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def refusing_server() -> Iterator[str]:
    """Give an address where connections are refused."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@contextmanager
def curious_server() -> Iterator[tuple[str, list[bytes]]]:
    """Take every request with an empty object of JSON; give the address, and what arrives."""
    heard: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        said = answer + b"Connection: close\r\n\r\n{}"
        Thread(target=_serve, args=(listening, said, heard), daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", heard


def _serve(listening: socket.socket, answer: bytes, heard: list[bytes] | None = None) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # the server was closed
            return
        with connection:
            try:
                connection.settimeout(5)
                request = connection.recv(65536)
                if heard is not None:
                    heard.append(request)
                connection.sendall(answer)
            except OSError:  # the client has gone
                continue


def like(server_url: str | None, url: str) -> str:
    """Give an address of HTTP as the author's own server is addressed, where it speaks another.

    Args:
        server_url: The address of the author's server, if there is one.
        url: The address to give.
    """
    if server_url is None or speaks_http(server_url):
        return url
    return at_port(server_url, place_of(url)[1])


def speaks_http(server_url: str) -> bool:
    """Tell whether an address is one of HTTP.

    Args:
        server_url: The address.
    """
    return server_url.startswith(("http://", "https://"))


@contextmanager
def no_connections() -> Iterator[list[Any]]:
    """Refuse every connection of this process, and note where one was tried."""
    tried: list[Any] = []
    original = socket.socket.connect

    def refuse(connecting: socket.socket, address: Any) -> None:
        if connecting.family == socket.AF_UNIX:  # which stays on this machine
            original(connecting, address)
            return
        tried.append(address)
        raise ConnectionRefusedError("there is no network here")

    socket.socket.connect = refuse  # type: ignore[method-assign,assignment]
    try:
        yield tried
    finally:
        socket.socket.connect = original  # type: ignore[method-assign]
