"""How do Trackio's own calls land in a run?

They get a run of Trackio's with the same id, which writes into the folder on this machine, whether
or not there is a server: nothing that the step calls waits for the network.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from trackyard.contract import RetryLater, after_import, process_values, write_whole
from trackyard_trackio.storing import Place, in_folder

logger = logging.getLogger("trackyard")

_CONFIG = "native-config.json"


def native_config(folder: Path) -> dict[str, Any]:
    """Give the config that Trackio's own calls have set, from the run's folder."""
    try:
        return dict(json.loads((folder / _CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


@contextmanager
def active_run(place: Place, store: Path, folder: Path) -> Iterator[object]:
    """Make a run Trackio's current one inside a block, when the step imports Trackio.

    Args:
        place: Where the run is in Trackio.
        store: Trackio's folder.
        folder: The run's folder.
    """
    with ExitStack() as held:
        enter = partial(_enter, held, place, store, folder)
        if "trackio" in sys.modules:
            yield enter()
        else:
            held.enter_context(after_import("trackio", enter))
            yield None


def _enter(held: ExitStack, place: Place, store: Path, folder: Path) -> object:
    import trackio
    from trackio.context_vars import current_run

    try:
        held.enter_context(in_folder(store))
    except RetryLater:
        logger.warning("Trackio's own calls go astray: an overlapping run has another folder")
        return None
    run = _run_class()(place, folder)
    before = current_run.get()
    held.callback(_leave, run, before)
    current_run.set(run)
    original = vars(trackio).get("_trackyard_init", trackio.init)
    attributes = [(trackio, "_trackyard_init", original), (trackio, "init", _init)]
    held.enter_context(process_values({}, attributes))
    with suppress(RetryLater):  # of overlapping runs the first has `trackio.config`
        held.enter_context(process_values({}, [(trackio, "config", run.config)]))
    return run


def _init(*arguments: Any, config: dict[str, Any] | None = None, **options: Any) -> Any:
    """Stand for `trackio.init` in a step: the step's run has begun already."""
    import trackio
    from trackio.context_vars import current_run

    run = current_run.get()
    if not hasattr(run, "keep_config"):  # the step has finished it, or it is another thread
        return vars(trackio)["_trackyard_init"](*arguments, config=config, **options)
    run.config.update(config or {})
    run.keep_config()
    return run


def _leave(run: Any, before: Any) -> None:
    from trackio.context_vars import current_run

    if current_run.get() is run:
        current_run.set(before)
    run.keep_config()
    run.close()


def _run_class() -> Callable[[Place, Path], Any]:
    from trackio.run import Run
    from trackio.utils import to_json_safe

    class StepRun(Run):  # type: ignore[misc]  # it is Any here
        """Trackio's run, which begins and ends with the step's."""

        def __init__(self, place: Place, folder: Path) -> None:
            begin: dict[str, Any] = {"url": None, "client": None, "existing_runs": []}
            named = {"project": place.project, "name": place.run, "run_id": place.run_id}
            super().__init__(**named, **begin, initial_last_step=-1)
            self._file = folder / _CONFIG
            self._config_logged = True  # it would replace the config that Trackyard writes
            self._storage_mode = "sqlite"
            self.config: dict[str, Any] = {}

        def _get_username(self) -> None:
            """Ask no one on the network."""

        def keep_config(self) -> None:
            """Write down the config, whole or not at all, for the tracker to send."""
            if self.config:
                write_whole(self._file, json.dumps(to_json_safe(self.config)))

        def finish(self) -> None:
            """Write what is left; the step ends the run."""
            with self._client_lock:
                self._flush_queues_inline()

        def close(self) -> None:
            """End the thread that writes."""
            self._stop_flag.set()
            if sender := vars(self)["_local_sender_thread"]:
                sender.join(30)
            self.finish()

    return StepRun
