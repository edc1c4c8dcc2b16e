"""How does a worker process carry a tracker's runs, and what if it dies?

It lives as long as the runner, imports the SDK once, and reads the journals itself: the step's
process imports no SDK for it and shares no lock of the interpreter with it. An endless loop, a
segfault or `os._exit` in a plugin ends the worker alone; it is started again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.contract.flavors import capabilities_of
from trackyard.contract.process_state import own_environment
from trackyard.contract.records import Run
from trackyard.delivery.logs import WorkerLog
from trackyard.delivery.reports import TrackerReport, report_of
from trackyard.delivery.stages import Progress, Stage
from trackyard.delivery.state import load_state, note_hang
from trackyard.hooks.dispatch import TrackerHooks
from trackyard.journal.descriptions import plain_table
from trackyard.redaction.redactor import Redactor
from trackyard.system.conditions import Event
from trackyard.system.descriptors import OwnFile, is_ready
from trackyard.system.files import make_private_folder, open_private
from trackyard.system.helpers import helper_command, helper_path
from trackyard.system.interruption import start_thread
from trackyard.system.locks import FileLock

if TYPE_CHECKING:
    from trackyard.project.stacks import TrackerOptions

logger = logging.getLogger("trackyard")

# How often a worker that dies is started again without having ended a run meanwhile.
_MOST_DEATHS = 3
# Bytes that may wait for a worker which imports its SDK: those of a thousand runs hold up nobody.
_COMMANDS = 1 << 20
# Seconds that a worker waits for its own log, which is quicker by far.
_PATIENCE = 5


class RemoteDelivery:
    """A delivery that a worker process carries out.

    Args:
        hooks: The tracker's hooks in this process, for the activation.
        run: The run as this tracker gets it.
        start_timeout: Seconds that the start hook may take.
        hurry: Makes the worker look for work at once.
    """

    def __init__(
        self, hooks: TrackerHooks, run: Run, start_timeout: float, hurry: Callable[[], None]
    ) -> None:
        self.hooks = hooks
        self.capabilities = capabilities_of(hooks.tracker)
        self.progress = Progress()
        self.url: str | None = None
        self.problem = ""
        self.delivered = 0
        self.hurry = hurry
        self._run = run
        self._start_timeout = start_timeout

    @property
    def run(self) -> Run:
        """The run as the next hook gets it."""
        has_started = self.progress.stage.has_started
        deadline = self.hooks.hook_timeout if has_started else self._start_timeout
        return attrs.evolve(self._run, deadline=deadline)

    def take(self, event: dict[str, Any]) -> None:
        """Note what the worker says of this run."""
        self.url = event.get("url") or self.url
        self.problem = event.get("problem", "")
        self.delivered = event.get("delivered", self.delivered)
        self.progress.retry_failed |= event["retry_failed"]
        self.progress.move(Stage(event["stage"]))

    def count_as_hung(self) -> None:
        """Note that a hook of this run hung: the worker that noted things of it was killed then."""
        lock = FileLock(self._run.folder / "delivery.lock")
        if lock.acquire():
            note_hang(self._run.folder)
            lock.release()

    def close(self) -> None:
        """Nothing: the worker goes on with it."""

    def report(self, most: int | None = None) -> TrackerReport:
        """Say how the run stands on this tracker now, by what the worker has noted on disk.

        Args:
            most: As in `report_of`.
        """
        report = report_of(self.hooks.name, load_state(self._run.folder), self._run.folder, most)
        return attrs.evolve(report, url=self.url or report.url, problem=self.problem)


class WorkerProcess:
    """A process that serves the runs of one tracker.

    Args:
        name: The tracker's name.
        project_root: The project's folder.
        log: File for what the SDK writes to its standard output and error.
        is_attached: It continues runs of other processes.
    """

    def __init__(
        self, name: str, project_root: Path, log: Path, *, is_attached: bool = False
    ) -> None:
        self.name = name
        self.changed = Event()  # set whenever something has come of a run
        self._is_attached = is_attached
        self._is_stopping = False
        self._project_root = project_root
        self._log = log
        self._deliveries: dict[str, RemoteDelivery] = {}
        self._process: int | None = None
        self._commands: OwnFile | None = None
        self._printed: OwnFile | None = None
        self._redactor = Redactor()
        self._environment: dict[str, str] = {}  # as the process has it
        self._deaths = 0
        self._serving = ""  # the run whose hook was called last
        self._lock = Lock()
        self._listener: Thread | None = None

    def carry(self, hooks: TrackerHooks, run: Run, options: TrackerOptions) -> RemoteDelivery:
        """Serve one more run.

        Args:
            hooks: The tracker's hooks, of which only the configuration goes there.
            run: The run, with a folder of this tracker's own.
            options: How long the tracker may take, and what it may cost.
        """
        delivery = RemoteDelivery(
            hooks, run, options.start_timeout, lambda: self._say_hurry(run.id)
        )
        with self._lock:
            self._deliveries[run.id] = delivery
            if self._commands is None:
                self._start()
            else:
                self._say_carry(delivery)
        return delivery

    def hurry(self) -> None:
        """Try a tracker that fails once more, as soon as the backend allows: someone waits."""
        self._say({"hurry": None})

    def look_after(self) -> None:
        """Nothing: a process that hangs ends itself."""

    def close(self) -> None:
        """Forget what has ended; the process lives on for the next run."""
        with self._lock:
            ended = [id_ for id_, d in self._deliveries.items() if d.progress.stage.is_final]
            for id_ in ended:
                del self._deliveries[id_]

    def stop(self) -> None:
        """End the process for good, whatever it has not delivered; nobody waits for a hook."""
        with self._lock:
            self._is_stopping = True
            if self._process is None:
                return
            self._say({"stop": True})
        if self._listener is not None:
            self._listener.join(1.0)
        self.kill()

    def kill(self) -> None:
        """End the process at once; it is started again for what has not ended."""
        with self._lock:
            if self._process is not None:
                os.kill(self._process, signal.SIGKILL)

    def _start(self) -> None:
        """Start the process and give it everything that has not ended. The lock is held."""
        try:
            self._process, self._commands, events, self._printed = _spawn(self._log)
        except (OSError, NotImplementedError) as error:
            self._give_up(f"its worker process cannot be started: {error}")
            return
        self._environment = {}
        first = {
            "path": helper_path(self._project_root),
            "project": str(self._project_root),
            "tracker": self.name,
        }
        self._say(first)
        for delivery in self._deliveries.values():
            if not delivery.progress.stage.is_final:
                self._say_carry(delivery)
        self._listener = Thread(
            target=self._listen, args=(events,), name=f"trackyard-{self.name}", daemon=True
        )
        try:
            start_thread(self._listener)
        except (RuntimeError, MemoryError) as error:  # the process has too many, or no memory
            events.close()
            self._commands.close()  # it ends then
            self._commands = self._process = self._listener = None
            self._give_up(f"no thread can be started for its worker process: {error}")

    def _say_carry(self, delivery: RemoteDelivery) -> None:
        message: dict[str, Any] = {"carry": str(delivery.run.folder)}
        message["attached"] = self._is_attached
        # What lies in the run's folder may come from elsewhere; what was chosen here counts.
        tracker = delivery.hooks.configured
        assert tracker is not None, "its hooks are those of a configured tracker"
        self._redactor = Redactor.joined((self._redactor, tracker.redactor))
        message["tracker"] = {"table": plain_table(tracker.table), "place": tracker.place}
        environment = own_environment()
        if environment != self._environment:
            self._environment = message["environment"] = environment
        self._say(message)

    def _say_hurry(self, run_id: str) -> None:
        self._say({"hurry": run_id})

    def _say(self, message: dict[str, Any]) -> None:
        try:
            if self._commands is not None:
                send_message(self._commands.checked(), message)
        except OSError as error:  # it has died, which `_listen` notices
            logger.debug("experiment tracker %r: %s", self.name, error)

    def _listen(self, events: OwnFile) -> None:
        try:
            self._take_from(events)
        except Exception:  # no memory, say: whoever is not heard any more would wait for ever
            with suppress(Exception):
                logger.exception("experiment tracker %r: its worker process is left", self.name)
            self.kill()
        events.close()
        with self._lock:
            self._start_again()
        self.changed.set()

    def _take_from(self, events: OwnFile) -> None:
        for event in messages_from(events):
            if "log" in event:
                logger.log(event["level"], "%s", event["log"])
                continue
            if "serving" in event:
                self._serving = event["serving"]
                continue
            delivery = self._deliveries.get(event["run"])
            if delivery is not None:
                delivery.take(event)
                if delivery.progress.stage.is_final:
                    self._deaths = 0
                self.changed.set()

    def _start_again(self) -> None:
        if self._commands is not None:
            self._commands.close()
            self._commands = None
        has_hung = False
        if self._process is not None:
            _, status = os.waitpid(self._process, 0)
            has_hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
            self._process = None
        self._log_the_rest()
        if self._is_stopping:
            return
        self._deaths += 1
        if has_hung and self._serving in self._deliveries:
            self._deliveries[self._serving].count_as_hung()
        if all(delivery.progress.stage.is_final for delivery in self._deliveries.values()):
            return
        how = "hung and was killed" if has_hung else "died"
        if self._deaths > _MOST_DEATHS:
            self._give_up(f"its worker process {how} {self._deaths} times; see {self._log}")
            return
        logger.warning(
            "experiment tracker %r: its worker process %s and is started again", self.name, how
        )
        for delivery in self._deliveries.values():
            if not delivery.progress.stage.is_final:
                delivery.problem = f"its worker process {how}"
        time.sleep(0.1 * self._deaths)
        self._start()

    def _log_the_rest(self) -> None:
        """Write to the log what the process has printed and could not write any more."""
        printed, self._printed = self._printed, None
        if printed is not None and printed.is_ours():
            with suppress(OSError):  # its folder may have gone
                WorkerLog(printed.number, self._log, [self._redactor]).close()

    def _give_up(self, problem: str) -> None:
        for delivery in self._deliveries.values():
            delivery.problem = problem
            delivery.progress.move(Stage.LATE)  # the next run starts it again, for this one, too
            delivery.progress.retry_failed = True


# Worker processes live as long as the process that they serve; a forked child has its own.
_processes: dict[tuple[int, Path, str], WorkerProcess] = {}


def worker_process(name: str, project_root: Path, log: Path) -> WorkerProcess:
    """Give this process's worker process for a tracker of a project.

    Args:
        name: The tracker's name.
        project_root: The project's folder.
        log: Where it writes what it and the SDK print.
    """
    key = (os.getpid(), project_root, name)
    if key not in _processes:
        _processes[key] = WorkerProcess(name, project_root, log)
    return _processes[key]


def _spawn(log: Path) -> tuple[int, OwnFile, OwnFile, OwnFile]:
    """Start a worker; give its process id, and our ends of the pipes.

    They are those for commands, for events, and for what it prints, which it reads itself.

    Raises:
        OSError: It cannot be started.
    """
    make_private_folder(log.parent)
    os.close(open_private(log, os.O_TRUNC))
    command_end, commands = os.pipe()
    with suppress(OSError, AttributeError):  # the system has its own size
        fcntl.fcntl(commands, fcntl.F_SETPIPE_SZ, _COMMANDS)
    events, event_end = os.pipe()
    printed, print_end = (end.detach() for end in _output())
    for file in (command_end, event_end, print_end, printed):
        os.set_inheritable(file, True)
    actions = [
        (os.POSIX_SPAWN_DUP2, command_end, 0),
        (os.POSIX_SPAWN_DUP2, event_end, 1),
        (os.POSIX_SPAWN_DUP2, print_end, 2),
        (os.POSIX_SPAWN_CLOSE, command_end),
        (os.POSIX_SPAWN_CLOSE, event_end),
        (os.POSIX_SPAWN_CLOSE, print_end),
    ]
    arguments = (str(os.getpid()), str(printed), str(log))
    command = helper_command("trackyard.delivery.serving", *arguments)
    try:
        process = os.posix_spawn(
            sys.executable, command, own_environment(), file_actions=actions, setsid=True
        )
    except BaseException:
        os.close(commands)
        os.close(events)
        os.close(printed)
        raise
    finally:
        os.close(command_end)
        os.close(event_end)
        os.close(print_end)
    os.set_inheritable(printed, False)
    return process, OwnFile(commands), OwnFile(events), OwnFile(printed)


def _output() -> tuple[socket.socket, socket.socket]:
    """Give where a worker reads what it prints, and where that is printed.

    Where nobody reads it any more, since there is no memory for that, it is lost: a worker that
    waited for ever would never see that its runner has gone.
    """
    printed, end = socket.socketpair()
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _PATIENCE, 0))
    return printed, end


def send_message(pipe: int, message: dict[str, Any]) -> None:
    """Write a message.

    Args:
        pipe: The descriptor to write to.
        message: What JSON can hold.

    Raises:
        OSError: The other side has gone.
    """
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def messages_from(
    pipe: OwnFile, is_there: Callable[[], bool] | None = None
) -> Iterator[dict[str, Any]]:
    """Give the messages that come, until the other side has gone.

    Args:
        pipe: Where they come.
        is_there: Asked each second: a child of the other side may hold the pipe open after it.
    """
    text = b""
    while is_there is None or is_there():
        if is_there is not None and not is_ready(pipe.number, 1.0):
            continue
        chunk = os.read(pipe.number, 65536) if pipe.is_ours() else b""
        if not chunk:
            return
        *lines, text = (text + chunk).split(b"\n")
        yield from (json.loads(line) for line in lines)
