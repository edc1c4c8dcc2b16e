"""How do Comet's own calls land in a run, without a server, and how are they sent?

They get an offline experiment of Comet's that writes into the run's folder, whether or not the
server is there: nothing that the step calls waits for the network, and what `kill -9` leaves can be
read. The tracker sends what is new of it every few seconds.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any

from trackyard.contract import Capture, RetryLater, Run, after_import, process_values
from trackyard_comet.archive import zip_messages
from trackyard_comet.messages import Message
from trackyard_comet.server import CometServer

if TYPE_CHECKING:
    from comet_ml import OfflineExperiment

    from trackyard_comet.experiments import Step

logger = logging.getLogger("trackyard")

# What the SDK does of its own accord when it is imported, and no run is about.
QUIET = {
    "COMET_DISABLE_ANNOUNCEMENT": "1",
    "COMET_ERROR_TRACKING_ENABLE": "false",
}


@contextmanager
def active_experiment(
    run: Run, place: tuple[str | None, str], capture: Capture | None
) -> Iterator[OfflineExperiment | None]:
    """Let Comet's own calls land in the run inside a block, when the step imports Comet.

    Args:
        run: The run.
        place: Its workspace and project.
        capture: Makes child runs of further experiments, or None.
    """
    with ExitStack() as held:
        held.enter_context(process_values(QUIET, patience=1.0))
        held.enter_context(_own_excepthook())
        thread = get_ident()

        def enter() -> OfflineExperiment:
            from trackyard_comet.experiments import Step

            return _enter(held, Step(run, place, capture, thread))

        if "comet_ml" in sys.modules:
            yield enter()
        else:
            held.enter_context(after_import("comet_ml", enter))
            yield None


def _enter(held: ExitStack, step: Step) -> OfflineExperiment:
    from comet_ml.config import config_api

    from trackyard_comet.experiments import active

    with ExitStack() as entering:
        experiment = entering.enter_context(active(step))
        try:
            held.enter_context(process_values({}, [(config_api, "experiment", experiment)]))
        except RetryLater:
            logger.warning(
                "Comet's own calls go to a run that overlaps %r; use native_run() for this one",
                step.run.name,
            )
        held.push(entering.pop_all())
    return experiment


@contextmanager
def _own_excepthook() -> Iterator[None]:
    """Give back the hook that the SDK replaces when it is imported."""
    before = sys.excepthook
    try:
        yield
    finally:
        if getattr(sys.excepthook, "__module__", "") == "comet_ml.exceptionhook":
            sys.excepthook = before


def upload_rest(
    run: Run, messages: list[Message], experiment: Mapping[str, Any], server: CometServer
) -> None:
    """Send, by the SDK's own `comet upload`, what only the SDK can send: graphs, models.

    Args:
        run: The run.
        messages: These messages and no others: the rest of the run is on the server already.
        experiment: Project and workspace.
        server: Where the rest of the run is.
    """
    path = run.folder / f"{run.id}-rest.zip"
    started, ended = run.started_at // 1_000_000, (run.ended_at or run.started_at) // 1_000_000
    facts = {
        "offline_id": run.id,
        "start_time": started,
        "stop_time": ended,
        "tags": [],
        "resume_strategy": "get",
        "user_provided_experiment_key": True,
        "comet_start_sourced": True,
        **experiment,
    }
    zip_messages(path, facts, messages)
    environment = {**os.environ, **QUIET, "COMET_API_KEY": server.api_key}
    environment["COMET_URL_OVERRIDE"] = f"{server.url}/clientlib/"
    command = [
        sys.executable,
        "-P",
        "-m",
        "comet_ml.scripts.comet_upload",
        "--force-upload",
        str(path),
    ]
    try:
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True,
            timeout=max(run.deadline, 60.0),
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RetryLater("comet upload took too long") from error
    # The SDK goes on where the server refuses something, and ends well.
    problems = [line for line in done.stderr.splitlines() if "COMET ERROR" in line]
    if done.returncode or problems:
        raise RetryLater(f"comet upload: {' '.join(problems)[:400] or done.stderr[-400:]}")
    path.unlink()
