"""Orchestrators with one fault each; their correct twin is the example of the page."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import attrs
from company_orchestrator import CommandOrchestrator

from trackyard.contract import Failure, Job, Outcome, StepCrashedError, own_environment, run_packed


class RunsTwice(CommandOrchestrator):
    """It tries a step again by itself."""

    caught_by = "test_step_is_run_once"

    def run(self, job: Job) -> Outcome:
        super().run(job)
        return super().run(job)


class TriesTheDeadAgain(CommandOrchestrator):
    """It runs a step once more whose process has died."""

    caught_by = "test_step_that_died_is_not_run_again"

    def run(self, job: Job) -> Outcome:
        try:
            return super().run(job)
        except StepCrashedError:
            return super().run(job)


class ReadsToTheEndOfAPipe(CommandOrchestrator):
    """It waits until nobody holds the pipe of the outcome any more."""

    caught_by = "test_child_that_is_left_holds_nothing_up"

    def run(self, job: Job) -> Outcome:
        code = "import os, sys; from trackyard.contract import run_packed\n"
        code += "os.write(int(sys.argv[1]), run_packed(sys.stdin.buffer.read()))"
        reading, writing = os.pipe()
        command = [sys.executable, "-c", code, str(writing)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=[writing], env=own_environment()
        )
        os.close(writing)
        process.communicate(job.pack())
        with os.fdopen(reading, "rb") as outcomes:
            return job.unpack(outcomes.read())


class ReturnsAtOnce(CommandOrchestrator):
    """It submits a step and does not wait for it."""

    caught_by = "test_steps_run_in_the_order_of_their_inputs"

    def run(self, job: Job) -> Outcome:
        threading.Thread(target=super().run, args=(job,)).start()
        return Outcome()


class LosesOutputs(CommandOrchestrator):
    """It makes an outcome of its own."""

    caught_by = "test_outputs_come_back"

    def run(self, job: Job) -> Outcome:
        found = super().run(job)
        return Outcome(metrics=found.metrics, failure=found.failure, error=found.error)


class LosesTheException(CommandOrchestrator):
    """It raises what a step raised as an error of its own."""

    caught_by = "test_exception_comes_back"

    def run(self, job: Job) -> Outcome:
        found = super().run(job)
        if found.error is not None:
            raise RuntimeError(f"the step failed: {found.error}")
        return found


class LosesArguments(CommandOrchestrator):
    """It makes the exception again from its text."""

    caught_by = "test_exception_comes_back"

    def run(self, job: Job) -> Outcome:
        found = super().run(job)
        if isinstance(found.error, ValueError):
            return attrs.evolve(found, error=ValueError(str(found.error)))
        return found


class SwallowsExit(CommandOrchestrator):
    """It takes sys.exit for a success."""

    caught_by = "test_exception_comes_back"

    def run(self, job: Job) -> Outcome:
        found = super().run(job)
        return Outcome() if isinstance(found.error, SystemExit) else found


class SwallowsTheTimeout(CommandOrchestrator):
    """It takes a step that took too long for one that has finished."""

    caught_by = "test_timeout_is_told"

    def run(self, job: Job) -> Outcome:
        found = super().run(job)
        return Outcome() if isinstance(found.error, TimeoutError) else found


class WaitsForEver(CommandOrchestrator):
    """It has no patience that comes to an end."""

    caught_by = "test_step_that_heeds_no_timeout_is_ended"

    def wait_for(self, job: Job, process: int, is_over: Callable[[], bool]) -> None:
        super().wait_for(attrs.evolve(job, timeout=None), process, is_over)


class DiesWithTheWorker(CommandOrchestrator):
    """It raises what the operating system says of a dead process."""

    caught_by = "test_death_is_a_crash_of_that_step_alone"

    def run(self, job: Job) -> Outcome:
        try:
            return super().run(job)
        except StepCrashedError as error:
            raise OSError(str(error)) from None


class ReturnsTheCrash(CommandOrchestrator):
    """It says by an outcome that a process has died, which is as good: it is no mutant."""

    def run(self, job: Job) -> Outcome:
        try:
            return super().run(job)
        except StepCrashedError as error:
            return Outcome(error=error)


class ReturnsAFailure(ReturnsTheCrash):
    """It calls a crash a failure of the step's own."""

    caught_by = "test_death_is_a_crash_of_that_step_alone"

    def run(self, job: Job) -> Outcome:
        found = super().run(job)
        if isinstance(found.error, StepCrashedError):
            failure = Failure("failed", "Crashed", str(found.error))
            return attrs.evolve(found, failure=failure)
        return found


class ReturnsNoError(ReturnsTheCrash):
    """It says that a step has crashed and not by which error."""

    caught_by = "test_death_is_a_crash_of_that_step_alone"

    def run(self, job: Job) -> Outcome:
        found = super().run(job)
        if isinstance(found.error, StepCrashedError):
            return Outcome(failure=Failure("crashed", "Crashed", str(found.error)))
        return found


class TakesAnExitForSuccess(CommandOrchestrator):
    """It takes exit code 0 for a step that has finished."""

    caught_by = "test_death_is_a_crash_of_that_step_alone"

    def run(self, job: Job) -> Outcome:
        try:
            return super().run(job)
        except StepCrashedError as error:
            if "exit code 0" in str(error):
                return Outcome()
            raise


class IgnoresStop(CommandOrchestrator):
    """It lets steps run to their end."""

    caught_by = "test_ctrl_c_stops_the_steps"

    def stop(self) -> None: ...


class KillsAtOnce(CommandOrchestrator):
    """It does not let steps tidy up."""

    caught_by = "test_ctrl_c_stops_the_steps"

    def wait_for(self, job: Job, process: int, is_over: Callable[[], bool]) -> None:
        while not is_over():
            if self._stopping.wait(0.02):
                os.killpg(process, signal.SIGKILL)


class AsksAlone(CommandOrchestrator):
    """It tells a step to stop and leaves it at that."""

    caught_by = "test_step_that_goes_on_after_ctrl_c_is_ended"

    def wait_for(self, job: Job, process: int, is_over: Callable[[], bool]) -> None:
        while not is_over() and not self._stopping.wait(0.05):
            pass
        if not is_over():
            os.kill(process, signal.SIGTERM)
            raise StepCrashedError("it was told to stop")


class RepliesByStdout(CommandOrchestrator):
    """Its worker gives the outcome by the stream that the step prints to."""

    caught_by = "test_what_a_step_prints_is_no_outcome"

    def run(self, job: Job) -> Outcome:
        code = "import sys; from trackyard.contract import run_packed\n"
        code += "sys.stdout.buffer.write(run_packed(sys.stdin.buffer.read()))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, input=job.pack(), stdout=subprocess.PIPE, env=own_environment(), check=False
        )
        return job.unpack(done.stdout)


class HandsTheEnvironmentOn(CommandOrchestrator):
    """It starts its workers with all that is in the driver's environment at that moment."""

    caught_by = "test_steps_see_nothing_that_a_tracker_holds"

    def run(self, job: Job) -> Outcome:
        code = "import sys; from pathlib import Path; from trackyard.contract import run_packed\n"
        code += "Path(sys.argv[1]).write_bytes(run_packed(sys.stdin.buffer.read()))"
        with tempfile.TemporaryDirectory() as folder:
            outcome = Path(folder) / "outcome"
            command = [sys.executable, "-c", code, str(outcome)]
            subprocess.run(command, input=job.pack(), check=True)
            return job.unpack(outcome.read_bytes())


class BeginsSomewhereElse(CommandOrchestrator):
    """Its command begins in a folder of its own, as a shell on another machine does."""

    caught_by = "test_steps_begin_where_the_driver_is"

    def run(self, job: Job) -> Outcome:
        self.prefix = ["env", "-C", "/"]
        return super().run(job)


class HasAnEnvironmentOfItsOwn(CommandOrchestrator):
    """Its command has nothing of the driver's environment but what Python is found by."""

    caught_by = "test_steps_begin_where_the_driver_is"

    def run(self, job: Job) -> Outcome:
        self.prefix = ["env", "-u", "VALUE_OF_THE_USER"]
        return super().run(job)


class ServesInOneFolder(CommandOrchestrator):
    """It begins each step in the folder of the step before."""

    caught_by = "test_steps_leave_nothing_to_the_next_one"
    places = 1

    def run(self, job: Job) -> Outcome:
        outcome = job.unpack(run_packed(job.pack()))
        os.chdir(job.folder)
        return outcome


class ChangesTheDriver(CommandOrchestrator):
    """It tells its workers something by its own environment."""

    caught_by = "test_nothing_of_the_driver_is_changed"

    def run(self, job: Job) -> Outcome:
        os.environ["COMPANY_STEP"] = job.run.name
        return super().run(job)


class MixesOutcomes(CommandOrchestrator):
    """It has one file for the outcomes of all steps."""

    caught_by = "test_many_jobs_keep_their_outputs_apart"
    last: ClassVar[list[Outcome]] = []

    def run(self, job: Job) -> Outcome:
        self.last[:] = [super().run(job), *self.last]
        return self.last[-1]


class RunsOneAtATime(CommandOrchestrator):
    """It says that it has places, and has one."""

    caught_by = "test_two_steps_run_at_once"
    only: ClassVar[threading.Lock] = threading.Lock()

    def run(self, job: Job) -> Outcome:
        with self.only:
            return super().run(job)


class LeavesAServer(CommandOrchestrator):
    """It starts a server for its workers and does not end it."""

    caught_by = "test_no_process_is_left"

    def run(self, job: Job) -> Outcome:
        self.server = subprocess.Popen(["sleep", "30"], stderr=subprocess.DEVNULL)
        return super().run(job)


class StartsWhenItIsMade(CommandOrchestrator):
    """It connects to its scheduler before anything is run."""

    caught_by = "test_making_one_starts_nothing"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.thread = threading.Thread(target=self._stopping.wait, daemon=True)
        self.thread.start()


class ClosesWhatIsNotOpen(CommandOrchestrator):
    """It closes a connection that no step has made."""

    caught_by = "test_pipeline_that_is_cached_ends"

    def run(self, job: Job) -> Outcome:
        self.connection = Path(job.folder)
        return super().run(job)

    def close(self) -> None:
        self.connection.is_dir()


class SharesItsEnd(CommandOrchestrator):
    """It is closed once for all pipeline runs of a process."""

    caught_by = "test_a_script_may_run_two_pipelines"
    is_closed: ClassVar[list[bool]] = []

    def run(self, job: Job) -> Outcome:
        if self.is_closed:
            raise StepCrashedError("the connection is closed")
        return super().run(job)

    def close(self) -> None:
        self.is_closed.append(True)


class HidesWhatCannotTravel(CommandOrchestrator):
    """It says of each error in it that the step's process has died."""

    caught_by = "test_argument_that_cannot_travel_is_said"

    def run(self, job: Job) -> Outcome:
        try:
            return super().run(job)
        except Exception as error:
            raise StepCrashedError(str(error)) from None


class SaysNoHelp:
    """Its keys are described nowhere."""

    caught_by = "test_it_is_an_attrs_class_whose_fields_are_described"

    def __init__(self) -> None:
        self.places = 1
        self.is_elsewhere = False

    def run(self, job: Job) -> Outcome:
        return job.run_here()

    def stop(self) -> None: ...

    def close(self) -> None: ...
