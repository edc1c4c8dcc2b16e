"""How is a command tracked that knows nothing of Trackyard?"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from trackyard.console.keeping import Console
from trackyard.console.relaying import Relay
from trackyard.contract.errors import TrackyardError
from trackyard.contract.records import Failure, Run
from trackyard.project.trackers import Tracker
from trackyard.tracking.blocks import entered, tracked_block
from trackyard.tracking.calls import tracked_run_of
from trackyard.tracking.failures import EndsRun
from trackyard.tracking.joining import variables_for
from trackyard.tracking.lifecycle import RunGroup
from trackyard.tracking.parents import ParentRun
from trackyard.tracking.step_records import StepRecord

# A command that ends by one of these was told to; by any other it was found dead.
_TELLING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_KEYS = (signal.SIGINT, signal.SIGQUIT)
_PASSED_ON = (*_TELLING, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class CommandError(TrackyardError):
    """A command cannot be started.

    Args:
        message: Why.
        exit_code: What shells give then: 127 where there is none, 126 where it cannot be executed.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_command(
    command: Sequence[str],
    group: RunGroup,
    run: Run,
    trackers: list[Tracker],
    params: Mapping[str, Any],
    *,
    tags: Mapping[str, str] | None = None,
    parent: ParentRun | None = None,
    record: StepRecord | None = None,
) -> int:
    """Run a command as a tracked run and wait for its end.

    Children find the run in `TRACKYARD_RUN_ID`, so that what they log lands in it.

    Args:
        command: The program and its arguments.
        group: Where the run belongs.
        run: The run.
        trackers: Its trackers.
        params: Logged before it starts.
        tags: Likewise; those that a new run begins with are its own.
        parent: The run that it stands below, or None.
        record: The store's row, where it is a step of a pipeline run.

    Returns:
        The command's exit code, or 128 and the signal's number, as shells give it.

    Raises:
        CommandError: The command cannot be started.
    """

    def note(number: int) -> None:
        group.note_signal(number)
        if record is not None:
            record.note_signal(number)

    try:
        block = partial(tracked_block, group, run, trackers, record, parent=parent, says_where=True)
        with entered(block, run.name) as active:
            if params:
                active.log_params(params)
            if tags:
                active.set_tags(tags)
            code, told = _run(command, note, group.console, variables_for(tracked_run_of(active)))
            failure = failure_of_code(code, told)
            if failure is not None:
                raise EndsRun(failure)
    except EndsRun:
        pass  # it has told the run how the command ended, which the exit code says to the caller
    return 128 - code if code < 0 else code  # as shells give it


def failure_of_code(code: int, told: int | None = None) -> Failure | None:
    """Say how a process ended.

    Args:
        code: Its exit code, or minus the number of the signal that ended it.
        told: The signal that told it to stop, if one was passed on to it.
    """
    if code == 0:
        return None
    if code < 0:
        name = _signal_name(-code)
        text = f"the command was ended by {name}"
        return Failure("killed" if -code in _TELLING else "crashed", name, text, signal=-code)
    if told is not None:
        name = _signal_name(told)
        text = f"the command was told to stop by {name} and ended with exit code {code}"
        return Failure("killed", name, text, signal=told)
    return Failure("failed", "ExitCode", f"the command ended with exit code {code}")


def _run(
    command: Sequence[str],
    note: Callable[[int], None],
    console: Console | None,
    variables: Mapping[str, str],
) -> tuple[int, int | None]:
    """Run a command; give its exit code, and the signal that told it to stop if one did."""
    with Relay(console.write if console is not None else None) as relay:
        return _run_with(command, note, relay, {**os.environ, **variables})


def _run_with(
    command: Sequence[str],
    note: Callable[[int], None],
    relay: Relay,
    environment: Mapping[str, str],
) -> tuple[int, int | None]:
    told: list[int] = []
    running: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if number in _TELLING:
            note(number)
            told.append(number)
        # Ctrl-C reaches the whole group of a terminal, and hence the command by itself.
        if running and not (number in _KEYS and _is_on_terminal()):
            running[0].send_signal(number)

    def resize(number: int, _frame: FrameType | None) -> None:
        relay.resize()
        if running:  # it may have looked before its terminal had the new size
            running[0].send_signal(number)

    handlers: dict[signal.Signals, Any] = dict.fromkeys(_PASSED_ON, pass_on)
    if relay.has_terminal:
        handlers[signal.SIGWINCH] = resize
    with _handling(handlers):
        try:
            process = subprocess.Popen(
                command, stdout=relay.stdout, stderr=relay.stderr, env=environment
            )
            running.append(process)
        except OSError as error:
            problem = error.strerror or error
            code = 127 if error.errno == errno.ENOENT else 126
            raise CommandError(f"{command[0]}: cannot be run: {problem}", code) from error
        relay.begin()
        if told:  # while it was started
            process.send_signal(told[0])
        return process.wait(), told[0] if told else None


@contextmanager
def _handling(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _is_on_terminal() -> bool:
    """Tell whether a terminal sends its signals to this process."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
