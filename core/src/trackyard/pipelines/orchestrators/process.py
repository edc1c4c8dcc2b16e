"""How are steps run side by side, in processes of this machine?"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import wait
from threading import Lock
from typing import Any, ClassVar

import attrs

from trackyard.console.relaying import Keep, Relay
from trackyard.contract.errors import StepCrashedError
from trackyard.contract.orchestrators import GRACE, Job, Outcome
from trackyard.contract.process_state import own_environment

logger = logging.getLogger("trackyard")


def _at_least_one(_: Any, __: Any, value: int) -> None:
    if value < 1:
        raise ValueError(f"must be 1 or more, not {value!r}")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@attrs.define(eq=False, kw_only=True)
class ProcessOrchestrator:
    """Runs up to `max_workers` steps at once, each in a process that serves many steps."""

    max_workers: int = attrs.field(
        factory=_processors,
        validator=_at_least_one,
        metadata={"help": "How many steps run at once; as many as there are processors"},
    )

    is_elsewhere: ClassVar[bool] = True
    _idle: list[_Process] = attrs.field(init=False, factory=list)
    _busy: list[_Process] = attrs.field(init=False, factory=list)
    _lock: Lock = attrs.field(init=False, factory=Lock)
    _is_stopping: bool = attrs.field(init=False, default=False)

    @property
    def places(self) -> int:
        """How many steps run at once."""
        return self.max_workers

    def run(self, job: Job) -> Outcome:
        """Run an attempt in a process that is free, or in a new one."""
        packed = job.pack()
        process = self._take()
        try:
            reply = process.run(packed, job.patience, job.keep_printed)
        except BaseException:
            with self._lock:
                self._busy.remove(process)
            process.end(0.0)
            raise
        with self._lock:
            self._busy.remove(process)
            self._idle.append(process)
        return job.unpack(reply)

    def stop(self) -> None:
        """Tell the steps that run to stop, and end their processes where they do not."""
        with self._lock:
            self._is_stopping = True
            busy = list(self._busy)
        try:
            for process in busy:
                process.terminate()
            end = time.monotonic() + GRACE
            while self._busy and time.monotonic() < end:
                time.sleep(0.01)
        finally:  # a second Ctrl-C must make it faster, not slower
            for process in busy:
                process.kill()

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            processes, self._idle = [*self._idle, *self._busy], []
        for process in processes:
            process.dismiss()
        end = time.monotonic() + GRACE
        for process in processes:
            process.end(max(0.0, end - time.monotonic()))

    def _take(self) -> _Process:
        with self._lock:
            if self._is_stopping:
                raise StepCrashedError("the pipeline run is being stopped")
            while self._idle:
                process = self._idle.pop()
                if process.is_alive():
                    break
                process.end(0.0)  # it died between two steps
            else:
                process = _Process()
            self._busy.append(process)
            return process


class _Process:
    """A process that runs one attempt after the other, as it is told to."""

    def __init__(self) -> None:
        self._connection, other = multiprocessing.Pipe()
        # -P: a `logging.py` in the working directory is no module of its own.
        command = [sys.executable, "-P", "-m", "trackyard.pipelines.orchestrators.worker"]
        command += [str(os.getpid()), str(other.fileno())]
        self._relay = Relay(_drop).__enter__()
        # A session of its own: Ctrl-C on a terminal is the driver's to deal with.
        self._process = subprocess.Popen(
            command,
            env=own_environment(),
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._relay.stdout,
            stderr=self._relay.stderr,
            start_new_session=True,
        )
        self._relay.begin()
        other.close()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def run(self, packed: bytes, patience: float | None, keep: Keep) -> bytes:
        """Run an attempt and wait for its outcome.

        Args:
            packed: The attempt.
            patience: Seconds to wait at most, or None.
            keep: Gets what it prints.

        Raises:
            StepCrashedError: The process has died, or had to be ended.
        """
        self._relay.resize()
        self._relay.keep = keep
        try:
            return self._run(packed, patience)
        finally:
            self._relay.catch_up()
            self._relay.keep = _drop

    def _run(self, packed: bytes, patience: float | None) -> bytes:
        with contextlib.suppress(OSError):  # it has died, which is noticed below
            self._connection.send_bytes(packed)
        with _death_of(self._process.pid) as death:
            ready = wait([self._connection, *death], patience)
        if not ready:
            self.kill()
            raise StepCrashedError("the step took longer than its timeout and could not be ended")
        if self._connection in ready or self._connection.poll():
            with contextlib.suppress(EOFError, OSError):
                return self._connection.recv_bytes()
        self.kill()  # what it had started must not outlive it
        raise StepCrashedError(f"the step's process was {self._cause()}")

    def terminate(self) -> None:
        """Tell it to end, if it lives."""
        with contextlib.suppress(OSError):
            self._process.terminate()

    def kill(self) -> None:
        """End it with all that it started; nothing where all of them are gone."""
        if self._process.returncode is None:  # until then nobody else gets its number
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def dismiss(self) -> None:
        """Let it end."""
        self._connection.close()

    def end(self, seconds: float) -> None:
        """Wait for its end, and then force it."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._connection.close()
        self._relay.__exit__(None, None, None)

    def _cause(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:  # a real-time signal
            return f"ended by signal {-code}"


def _drop(_stream: str, _text: str) -> None:
    """Keep nothing: no attempt is running."""


@contextlib.contextmanager
def _death_of(process: int) -> Any:
    """Give a file that tells when a process dies, where there is such a thing.

    Its end of the pipe may be held open by children of its own.
    """
    if not hasattr(os, "pidfd_open"):
        yield []
        return
    try:
        file = os.pidfd_open(process)
    except OSError:
        yield []
        return
    try:
        yield [file]
    finally:
        os.close(file)
