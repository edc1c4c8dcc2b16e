"""What does a worker process do? It carries the runs of one tracker as its runner says.

    python -m trackyard.delivery.serving RUNNER SOCKET LOG < commands > events 2> SOCKET

Where its runner dies, the watchdog ends its runs and this process, which has the SDK imported
already, delivers them; it goes on for a minute at most.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import TrackyardError
from trackyard.delivery.delivery import LocalDelivery
from trackyard.delivery.logs import WorkerLog
from trackyard.delivery.process import messages_from, send_message
from trackyard.delivery.stages import Stage
from trackyard.delivery.thread import WorkerThread
from trackyard.hooks.discovery import load_plugins
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import TrackerDescription, load_description, run_for
from trackyard.journal.ending import find_end
from trackyard.project.configuration import find_project
from trackyard.project.trackers import Trackers
from trackyard.system.descriptors import OwnFile
from trackyard.system.helper_end import end_soon

# Seconds without a run after which it ends; the runner starts it anew when it needs it again.
IDLE_AFTER = 60.0
# Seconds for which it outlives its runner to deliver what is left.
OUTLIVE = 60.0


def main() -> None:
    """Serve until the runner has gone; end then, also where that fails."""
    try:
        _serve()
    finally:
        end_soon()


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runner, printed = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(printed, False)
    log = WorkerLog(printed, Path(sys.argv[3]))
    # Where each thread stands goes straight to the log: it names files and functions alone. The
    # alarm is that of a hook that hangs, and ends the process.
    faulthandler.enable(log.file)
    faulthandler.register(signal.SIGALRM, log.file, chain=True)
    log.follow()
    events = os.dup(1)
    os.dup2(2, 1)  # what an SDK prints goes to the log, not among the events
    idle = _Idleness()
    lines = messages_from(OwnFile(0), lambda: os.getppid() == runner and not idle.lasts_too_long())
    first = next(lines)
    sys.path[:] = first["path"]
    logging.getLogger("trackyard").addHandler(_EventHandler(events, log))
    server = _Server(Path(first["project"]), first["tracker"], events, log)
    idle.server = server
    for command in lines:
        if "stop" in command:
            log.drain()
            os._exit(0)  # whatever hook is running
        if "environment" in command:
            os.environ.clear()
            os.environ.update(command["environment"])
        if "carry" in command:
            server.carry(Path(command["carry"]), command["tracker"], command["attached"])
        else:
            server.hurry(command["hurry"])
    server.outlive_runner(runner)
    log.drain()
    os._exit(0)


class _Idleness:
    """How long has there been nothing to do? An SDK holds hundreds of megabytes."""

    def __init__(self) -> None:
        self.server: _Server | None = None
        self._since = time.monotonic()

    def lasts_too_long(self) -> bool:
        if self.server is None or self.server.has_work():
            self._since = time.monotonic()
        return time.monotonic() - self._since > IDLE_AFTER


class _Server:
    def __init__(self, project_root: Path, tracker: str, events: int, log: WorkerLog) -> None:
        self._trackers = Trackers(find_project(project_root))
        self._plugins = load_plugins()[0]
        self._tracker = tracker
        self._events = events
        self._log = log
        self._worker = WorkerThread(tracker, on_serve=self._say_whom_it_serves)
        self._serving: LocalDelivery | None = None
        self._deliveries: dict[str, LocalDelivery] = {}
        self._said: dict[str, dict[str, Any]] = {}
        self._is_frozen = False

    def carry(self, folder: Path, table: Mapping[str, Any], is_attached: bool) -> None:
        """Deliver the run whose folder for this tracker is given.

        Args:
            folder: The folder.
            table: The tracker's `table` and `place`, as the runner chose them.
            is_attached: Another process began the run.
        """
        run_id = folder.parent.name
        try:
            delivery = self._new_delivery(folder, table, is_attached)
        except TrackyardError as error:
            message = {"run": run_id, "url": None, "problem": str(error)}
            self._send({**message, "stage": Stage.LATE.value, "retry_failed": True})
            return
        self._deliveries[run_id] = delivery
        if delivery.progress.stage is Stage.ENDED:  # another process has delivered it meanwhile
            self._say(delivery)
        else:
            # Here: the worker's thread may be importing the SDK for another run.
            delivery.start_early()
            self._worker.add(delivery)

    def has_work(self) -> bool:
        """Tell whether a run has not ended."""
        return bool(self._deliveries)

    def outlive_runner(self, runner: int) -> None:
        """Deliver what is left, where a watchdog is there to end the runs of the dead.

        Args:
            runner: Its process, which may live: what it runs can have closed its pipes.
        """
        if os.environ.get("TRACKYARD_WATCHDOG") == "0":
            return
        give_up_at = time.monotonic() + OUTLIVE
        told: set[str] = set()
        while self.has_work() and time.monotonic() < give_up_at:
            for id_, delivery in list(self._deliveries.items()):
                if os.getppid() != runner:
                    delivery.take_any_end()
                if id_ not in told and find_end(delivery.run.folder.parent) is not None:
                    told.add(id_)
                    self.hurry(id_)
            time.sleep(0.1)

    def hurry(self, run_id: str | None) -> None:
        """Do the next thing of a run at once; without one, try a tracker that fails."""
        if run_id is None:
            self._worker.hurry()
        if run_id in self._deliveries:
            self._deliveries[run_id].hurry()

    def _new_delivery(
        self, folder: Path, table: Mapping[str, Any], is_attached: bool
    ) -> LocalDelivery:
        description = load_description(folder.parent)
        if description is None:
            raise TrackyardError(f"{folder.parent}: the run's description cannot be read")
        tracker = TrackerDescription(self._tracker, folder.name, **table)
        built = self._trackers.build(tracker.name, tracker.table, tracker.place)
        self._log.know(built.redactor)
        run = attrs.evolve(run_for(description, tracker, folder.parent), attached=is_attached)
        # A hook that hangs ends this process, and its runner starts another one.
        hooks = TrackerHooks.of(built, self._plugins, is_alone=True)
        return LocalDelivery(
            hooks,
            run,
            built.options.start_timeout,
            self._worker.breaker,
            on_change=self._say,
            on_hurry=self._worker.wake,
            all_ranks=built.options.rank == "all",
            takes_context=built.options.context is not False,
            takes_console=built.options.console is not False,
        )

    def _say(self, delivery: LocalDelivery) -> None:
        """Tell the runner what has changed."""
        self._spare_sdk(delivery)
        message = {
            "run": delivery.run.id,
            "url": delivery.url,
            "problem": delivery.problem,
            "delivered": delivery.state.delivered,
            "stage": delivery.progress.stage.value,
            "retry_failed": delivery.progress.retry_failed,
        }
        if self._said.get(delivery.run.id) != message:
            self._said[delivery.run.id] = message
            self._send(message)
        if delivery.progress.stage.is_over:
            self._deliveries.pop(delivery.run.id, None)
            self._said.pop(delivery.run.id, None)

    def _say_whom_it_serves(self, delivery: LocalDelivery) -> None:
        """Tell the runner which run's hook is called next: one that hangs says nothing any more."""
        if delivery is not self._serving:
            self._serving = delivery
            self._send({"serving": delivery.run.id})

    def _spare_sdk(self, delivery: LocalDelivery) -> None:
        """Have the garbage collector pass over what the SDK has made once its first run is started.

        That is hundreds of thousands of objects which live as long as this process. To look at
        all of them again and again took a quarter of the time of a delivery.
        """
        has_sdk = not delivery.is_early or delivery.state.delivered > 0
        if delivery.progress.stage is Stage.OPEN and has_sdk and not self._is_frozen:
            self._is_frozen = True
            gc.freeze()

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # its runner has gone
            send_message(self._events, message)


class _EventHandler(logging.Handler):
    """Lets the runner show what is logged here."""

    def __init__(self, events: int, log: WorkerLog) -> None:
        super().__init__(logging.WARNING)
        self._events = events
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        message = {"log": self._log.redact(record.getMessage()), "level": record.levelno}
        with suppress(OSError):
            send_message(self._events, message)


if __name__ == "__main__":
    main()
