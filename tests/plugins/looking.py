"""Which commands and calls look at a project, and which server sees whether they only do that?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click

from trackyard import Client
from trackyard.cli.main import cli

# What looks at no run, and what goes on for ever or opens a browser.
_CHANGES = ("register", "update", "rename", "copy", "delete")
_OTHER_COMMANDS = {
    *("init", "completion install", "completion show", "plugins", "run", "exec", "ui", "runs open"),
    "import",  # its own tests have it look at folders from elsewhere
    *("log metric", "log param", "log tag", "log artifact", "stack set", "stack import"),
    *(f"experiment-tracker flavor {verb}" for verb in ("list", "describe", "new", "check")),
    *(f"experiment-tracker {verb}" for verb in (*_CHANGES, "remove-attribute", "check")),
    *(f"stack {verb}" for verb in (*_CHANGES, "remove-attribute")),
}
_OTHER_CALLS = {
    *("accept_losses", "import_runs"),
    *("list_flavors", "get_flavor", "check_experiment_tracker", "import_stack", "set_active_stack"),
    *("remove_experiment_tracker_attributes", "remove_stack_attributes"),
    *(f"{verb}_{thing}" for verb in _CHANGES for thing in ("experiment_tracker", "stack")),
}


def commands_for_runs() -> set[str]:
    """Name the commands that look at runs or do something with what is there."""
    return {*_commands_of(cli)} - _OTHER_COMMANDS


def calls_for_runs() -> set[str]:
    """Name what `Client` has for that."""
    return {name for name in dir(Client) if not name.startswith("_")} - _OTHER_CALLS


def _commands_of(group: click.Group, *before: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.commands_by_name:  # not those of plugins
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands_of(command, *before, name)
        else:
            yield " ".join([*before, name])


@contextmanager
def recording_server() -> Iterator[tuple[str, list[str]]]:
    """Give the address of a server that records every request, and what it has seen."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(f"{self.command} {self.path} {self.headers}")
            self.send_response(500)
            self.end_headers()

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}", seen
    listening.shutdown()
    listening.server_close()
    thread.join()
