"""`trackyard runs url` and `open`: where is a run's page?"""

from __future__ import annotations

import shlex
import socket
import webbrowser
from urllib.parse import urlsplit

import click

from trackyard.cli.completing import run_names, tracker_names
from trackyard.cli.output import json_option, say, show_json
from trackyard.client import Client
from trackyard.contract.errors import TrackyardError

tracker_option = click.option(
    "--experiment-tracker",
    "--tracker",
    "tracker",
    shell_complete=tracker_names,
    help="Name of one of its experiment trackers; the first with an address by default.",
)


@click.command()
@click.argument("run", shell_complete=run_names)
@tracker_option
@json_option
def url(run: str, tracker: str | None, as_json: bool) -> None:
    """Print the address of RUN on its first tracker, or on one of them."""
    address = Client().get_run_url(run, tracker)
    if as_json:
        show_json({"url": address, "urls": Client().get_run(run).urls})
        return
    say(address)


@click.command("open")
@click.argument("run", shell_complete=run_names)
@tracker_option
@json_option
def open_run(run: str, tracker: str | None, as_json: bool) -> None:
    """Open the page of RUN in a browser."""
    address = Client().get_run_url(run, tracker)
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        raise TrackyardError(f"{address} is no address of a page")
    if parts.hostname in ("127.0.0.1", "localhost") and not _answers(parts.port or 80):
        name = f"{tracker} " if tracker else ""
        command = f"trackyard ui {name}--run {shlex.quote(run)}"
        raise TrackyardError(f"nothing serves {parts.netloc} yet; type: {command}")
    is_open = webbrowser.open(address)
    if as_json:
        show_json({"url": address, "is_open": is_open})
    else:
        say(f"opened {address}" if is_open else f"no browser was found; open {address}")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True
