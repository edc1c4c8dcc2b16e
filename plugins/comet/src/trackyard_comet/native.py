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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackyard.contract import RetryLater, Run, after_import, process_values
from trackyard_comet.archive import native_folder, zip_messages
from trackyard_comet.messages import Message
from trackyard_comet.server import CometServer

if TYPE_CHECKING:
    from comet_ml import OfflineExperiment

logger = logging.getLogger("trackyard")

# What the SDK does of its own accord when it is imported.
QUIET = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_DISABLE_ANNOUNCEMENT": "1",
    "COMET_ERROR_TRACKING_ENABLE": "false",
}
_OFF = (
    "log_code", "log_graph", "auto_param_logging", "auto_metric_logging", "parse_args",
    "auto_output_logging", "log_env_details", "log_git_metadata", "log_git_patch",
)  # fmt: skip


@contextmanager
def active_experiment(run: Run, name: str) -> Iterator[OfflineExperiment | None]:
    """Make an experiment Comet's global one inside a block, when the step imports Comet.

    Args:
        run: The run.
        name: The experiment's name.
    """
    with ExitStack() as held:
        held.enter_context(process_values(QUIET, patience=1.0))
        held.enter_context(_own_excepthook())
        if "comet_ml" in sys.modules:
            yield _enter(held, run, name)
        else:
            held.enter_context(after_import("comet_ml", lambda: _enter(held, run, name)))
            yield None


def _enter(held: ExitStack, run: Run, name: str) -> OfflineExperiment:
    from comet_ml.config import config_api

    with _quiet():
        # The SDK ends the experiment before when a new one is made: it does not see it meanwhile.
        before = config_api.get_global_experiment()
        config_api.set_global_experiment(None)
        try:
            experiment = _experiment_class()(run, name)
        finally:
            config_api.set_global_experiment(before)
    held.callback(_end, experiment)
    experiment.disable_mp()  # auto-logging of other SDKs, where Comet was imported before
    try:
        held.enter_context(process_values({}, [(config_api, "experiment", experiment)]))
    except RetryLater:
        logger.warning(
            "Comet's own calls go to a run that overlaps %r; use native_run() for this one",
            run.name,
        )
    return experiment


def _experiment_class() -> Callable[[Run, str], OfflineExperiment]:
    from comet_ml import OfflineExperiment

    class RunExperiment(OfflineExperiment):  # type: ignore[misc]  # it is Any here
        """Comet's offline experiment, in a folder of the run's instead of a temporary one."""

        def __init__(self, run: Run, name: str) -> None:
            self._folder = native_folder(run)
            self._folder.mkdir(parents=True, exist_ok=True)
            super().__init__(**_options(run))
            # The SDK's empty placeholder of an archive.
            (run.folder / f"{run.id}.zip").unlink(missing_ok=True)
            self.name = name

        def _setup_streamer(self) -> bool:
            Path(str(vars(self)["tmpdir"])).rmdir()  # new, and empty
            self.tmpdir = str(self._folder)
            return bool(super()._setup_streamer())

        def _streamer_wait_for_finish(self) -> bool:
            _end_streamer(self.streamer)
            return bool(super()._streamer_wait_for_finish())

        def add_tags(self, tags: list[str]) -> Any:
            is_added = super().add_tags(tags)
            self._write_experiment_meta_file()  # kept only in memory otherwise
            return is_added

        def add_tag(self, tag: str) -> Any:
            return self.add_tags([tag])

        def _mark_as_ended(self) -> None:
            """Write no archive: what is in the folder becomes part of the run's."""
            self._write_experiment_meta_file()

    return RunExperiment


def _options(run: Run) -> dict[str, Any]:
    return {
        "experiment_key": run.id,
        "offline_directory": str(run.folder),
        "display_summary_level": 0,
        **dict.fromkeys(_OFF, False),
    }


def _end_streamer(streamer: Any) -> None:
    """Say the end to the SDK's thread, which waits a second for a message before it sees it."""
    from comet_ml.messages import CloseMessage

    streamer.messages.put(CloseMessage())
    streamer.join(10)


def _end(experiment: OfflineExperiment) -> None:
    with _quiet():
        experiment.end()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the SDK from telling each step what it does."""
    sdk = logging.getLogger("comet_ml")
    level = sdk.level
    sdk.setLevel(logging.ERROR)
    try:
        yield
    finally:
        sdk.setLevel(level)


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
