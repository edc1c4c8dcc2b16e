"""`trackyard ui`: how does one open a tracker's own page?"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import click

from trackyard.cli.completing import tracker_names
from trackyard.cli.output import is_terminal, json_option, remark, say, show_json, until_interrupted
from trackyard.contract.errors import ConfigError, TrackyardError
from trackyard.delivery.logs import WorkerLog
from trackyard.delivery.state import load_state
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import folder_name, load_description
from trackyard.project.configuration import Project, find_project
from trackyard.project.trackers import DEFAULT_DISTRIBUTION, Tracker, Trackers
from trackyard.redaction.redactor import Redactor
from trackyard.runs.folders import find_runs, folders_of_runs
from trackyard.system.files import make_private_folder, open_private
from trackyard.system.interruption import termination_as_exit

_PR_SET_PDEATHSIG = 1


@click.command()
@click.argument("name", required=False, shell_complete=tracker_names)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port; the tracker's own by default.")
@click.option("--run", "run_name", help="Open this run, instead of the latest one.")
@click.option(
    "--open/--no-open",
    "is_opened",
    default=None,
    help="Open it in a browser; by default on a terminal.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds to wait for the page's first answer.",
)
@json_option
def ui(
    *,
    name: str | None,
    host: str,
    port: int | None,
    run_name: str | None,
    is_opened: bool | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Serve the page of the tracker NAME, or of the active stack's first one; Ctrl-C ends it.

    When the page answers, its address goes to stdout: that of the run, of the latest one, or of the
    page where there is no run.
    """
    project = find_project()
    tracker = _choose(project, name)
    instance = tracker.new_instance()
    port = port or getattr(instance, "ui_port", None)
    command = _command(TrackerHooks(instance, tracker.name), host, port)
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared only
    page = f"http://{reached}:{port}/"
    url = _at(_run_url(project, tracker.name, run_name) or page, reached, port)
    if port is not None:
        _check_port(tracker.name, host, port)
    log = project.home / "workers" / f"ui-{folder_name(tracker.name)}.log"
    with _Server(command, log, tracker.redactor) as it:
        if port is not None:
            it.wait_until_it_answers(page, timeout)
        with until_interrupted():
            _show(tracker.name, url, it.process, as_json=as_json)
            if is_opened or (is_opened is None and not as_json and is_terminal()):
                _open(url)
            it.wait_until_it_ends()


def _show(name: str, url: str, process: int, *, as_json: bool) -> None:
    if as_json:
        show_json({"name": name, "url": url, "process": process})
    else:
        say(url)
        if is_terminal():
            remark("Ctrl-C ends it.")
    sys.stdout.flush()


def _choose(project: Project, name: str | None) -> Tracker:
    trackers = Trackers(project)
    names = trackers.stack.experiment_trackers
    if name is None and not names:
        raise ConfigError(
            f"the active stack has no experiment tracker; type: pip install {DEFAULT_DISTRIBUTION}"
        )
    return trackers.select([names[0] if name is None else name])[0]


def _command(hooks: TrackerHooks, host: str, port: int | None) -> list[str]:
    outcome = hooks.ui_command(host, port)
    if outcome.reason:
        raise TrackyardError(f"experiment tracker {hooks.name!r}: {outcome.reason}")
    if not outcome.value:
        raise TrackyardError(
            f"experiment tracker {hooks.name!r} has no page of its own to serve; "
            f"open its server's address instead"
        )
    return [str(word) for word in outcome.value]


def _run_url(project: Project, tracker: str, run_name: str | None) -> str | None:
    """Give the address of a run on a tracker, of the latest one by default."""
    if run_name is None:
        folders = list(reversed(folders_of_runs(project)))
    else:
        folders = [run.folder for run in find_runs(project, run_name)]
    for folder in folders:
        description = load_description(folder)
        known = {known.name: known for known in description.trackers} if description else {}
        if tracker in known:
            url = load_state(folder / known[tracker].folder).url
            if url:
                return url
    if run_name is not None:
        raise TrackyardError(f"run {run_name!r} has no address on experiment tracker {tracker!r}")
    return None


def _at(url: str, host: str, port: int | None) -> str:
    """Give a run's address where the page is served now."""
    if port is None:
        return url
    return urlunsplit(urlsplit(url)._replace(scheme="http", netloc=f"{host}:{port}"))


def _check_port(tracker: str, host: str, port: int) -> None:
    """Say in our own words that a port is taken; servers say it in pages of theirs."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            other = f"trackyard ui {tracker} --port {port + 1 if port < 65535 else port - 1}"
            raise TrackyardError(
                f"port {port} of {host} cannot be used: {(error.strerror or str(error)).lower()}; "
                f"the page may be served there already, or type: {other}"
            ) from error


def _open(url: str) -> None:
    import webbrowser

    if not webbrowser.open(url):
        remark("Note: no browser was found; open the address yourself")


class _Server:
    """The tracker's own server, which ends with this process.

    Args:
        command: What serves the page.
        log: Where its output goes.
        redactor: Keeps the tracker's secrets out of it.
    """

    def __init__(self, command: Sequence[str], log: Path, redactor: Redactor) -> None:
        self._command = command
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: Any = None
        self._redactor = redactor
        self._output: WorkerLog | None = None

    @property
    def process(self) -> int:
        """The server's process id."""
        return self._started().pid

    def __enter__(self) -> Self:
        self._guard = termination_as_exit(lambda _: None)
        self._guard.__enter__()
        try:
            make_private_folder(self._log.parent)
            os.close(open_private(self._log, os.O_TRUNC))
            printed, end = socket.socketpair()
            self._output = WorkerLog(printed.detach(), self._log, [self._redactor])
            is_linux = sys.platform == "linux"
            with end, _ctrl_c_held() if is_linux else nullcontext():
                self._child = subprocess.Popen(
                    self._command,
                    cwd=os.sep,  # servers put the working directory on their path
                    stdin=subprocess.DEVNULL,
                    stdout=end.fileno(),
                    stderr=end.fileno(),
                    preexec_fn=_end_with_parent if is_linux else None,  # noqa: PLW1509
                )
        except OSError as error:
            self._guard.__exit__(None, None, None)
            if self._output is not None:
                self._output.close()
            raise TrackyardError(f"{self._command[0]} cannot be run: {error.strerror}") from error
        self._output.follow()
        return self

    def __exit__(self, *error: object) -> None:
        child = self._started()
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._output is not None:
            self._output.drain()
        self._guard.__exit__(*error)

    def wait_until_it_answers(self, page: str, seconds: float) -> None:
        """Return when the page answers, whatever it says."""
        end = time.monotonic() + seconds
        while not _answers(page):
            if self._started().poll() is not None:
                self._say_that_it_ended()
            if time.monotonic() > end:
                raise TrackyardError(
                    f"{page} does not answer after {seconds:g} s; its output is in {self._log}"
                )
            time.sleep(0.1)

    def wait_until_it_ends(self) -> None:
        """Serve until Ctrl-C or SIGTERM; a server that ends by itself has failed."""
        if self._started().wait():
            self._say_that_it_ended()

    def _say_that_it_ended(self) -> None:
        if self._output is not None:
            self._output.drain()
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        code = self._started().returncode
        raise TrackyardError(
            f"the server ended with exit code {code}{f': {last[:300]}' if last else ''}; "
            f"its output is in {self._log}"
        )

    def _started(self) -> subprocess.Popen[bytes]:
        assert self._child is not None, "it is entered first"
        return self._child


def _answers(page: str) -> bool:
    try:
        with urllib.request.urlopen(page, timeout=5):  # noqa: S310 - it is http
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Have a Ctrl-C wait that comes amid a fork: the handlers that run there would swallow it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Ask Linux to end the server where this process is killed and cannot do it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
