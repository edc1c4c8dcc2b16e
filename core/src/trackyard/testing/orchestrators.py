"""What does the author of an orchestrator subclass, and what is checked?"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from trackyard.contract.orchestrators import GRACE
from trackyard.testing import driven_steps as steps
from trackyard.testing.base import Suite
from trackyard.testing.contract import check, expect, skip_unless_it_applies
from trackyard.testing.drivers import Driver, runs_elsewhere, runs_several
from trackyard.testing.driving import MANY


class OrchestratorSuite(Suite):
    """Checks that an orchestrator keeps the contract. Subclass it, and pytest runs them all.

    Each check is a script of its own, whose pipeline runs on the orchestrator. An orchestrator
    with several places needs two of them free.

    Fixtures of the subclass:
        config: The stack's table, as in `[stacks.NAME]`: a dict with `orchestrator`, its name or
            dotted path, and its fields.

    Attributes:
        patience: Seconds that a script with a few short steps may take at most, beside whatever
            else the machine does; a quarter of it may be added to what is promised in seconds. An
            orchestrator that starts a cluster for each pipeline run may need more.
        expected_failures: Reasons by name of checks that the orchestrator cannot pass; one that
            passes all the same is a failure.
    """

    longest_check: ClassVar[float] = math.inf  # each script has its own bound, by `patience`
    patience: ClassVar[float] = 90.0
    expected_failures: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """Give the stack's table. Every subclass has its own."""
        name = type(self).__name__
        raise NotImplementedError(
            f"{name} needs a fixture `config` that gives the stack's table, such as "
            '{"orchestrator": "queue", "max_workers": 2}'
        )

    @pytest.fixture
    def driver(
        self, request: pytest.FixtureRequest, config: Mapping[str, Any], _project: Path
    ) -> Driver:
        """Give what runs steps on the orchestrator, unless the check does not apply to it.

        Args:
            request: Of the check.
            config: The fixture `config`.
        """
        driver = Driver(_project, config, self.patience)
        skip_unless_it_applies(request.function, driver)
        return driver

    @check("An orchestrator is an attrs class; its fields are keys of the stack's table.")
    def test_it_is_an_attrs_class_whose_fields_are_described(self, driver: Driver) -> None:
        """Each key has a help text for the command line."""
        cls: type[Any] = type(driver.orchestrator)
        expect(attrs.has(cls), f"{cls.__qualname__} is no attrs class")
        fields = [field for field in attrs.fields(cls) if field.init]
        silent = [field.name for field in fields if not field.metadata.get("help")]
        expect(not silent, f'no metadata={{"help": ...}} has {", ".join(silent)}')
        expect(bool(inspect.getdoc(cls)), f"{cls.__qualname__} has no docstring")

    @check("It has places, is_elsewhere, run, stop and close.")
    def test_it_has_its_parts(self, driver: Driver) -> None:
        """What is missing is said before anything of a pipeline runs."""
        orchestrator = driver.orchestrator
        parts = ("places", "is_elsewhere", "run", "stop", "close")
        missing = [part for part in parts if not hasattr(orchestrator, part)]
        expect(not missing, f"it has no {', '.join(missing)}")
        places, is_elsewhere = orchestrator.places, orchestrator.is_elsewhere
        expect(type(places) is int and places > 0, f"places is {places!r}")
        expect(type(is_elsewhere) is bool, f"is_elsewhere is {is_elsewhere!r}")

    @check("Making one starts nothing, and close ends what was started, which may be nothing.")
    def test_making_one_starts_nothing(self, driver: Driver) -> None:
        """It is made to check a configuration, too."""
        started = driver.run("made").finished()
        expect(not started, f"there is {', '.join(started or [])}")

    @check("A job is run once.")
    def test_step_is_run_once(self, driver: Driver) -> None:
        """Trying again is the driver's: each attempt is a run of its own."""
        lines = driver.run("once").finished()
        expect(lines == ["it begins", "it ends"], f"the step noted {lines}")

    @check("A job is run once, also where its process has died.", runs_elsewhere)
    def test_step_that_died_is_not_run_again(self, driver: Driver) -> None:
        """`@step(retries=...)` and `max_retries` are the driver's to count."""
        driver.run("dies once").raised("StepCrashedError")
        tries = 1 + getattr(driver.orchestrator, "max_retries", 0)
        begun = len(driver.lines())
        expect(begun == tries, f"the step began {begun} times, and not {tries}")

    @check("A step has ended when it gave its outcome, whatever it left behind.", runs_elsewhere)
    def test_child_that_is_left_holds_nothing_up(self, driver: Driver) -> None:
        """A forked child, which has the process's files and pipes open."""
        _expect_soon(driver, driver.run("child").finished(), GRACE)

    @check("run waits for the attempt: a step begins when those that it waits for have ended.")
    def test_steps_run_in_the_order_of_their_inputs(self, driver: Driver) -> None:
        """A chain of three."""
        lines = driver.run("order").finished()
        right = [f"{name} {what}" for name in ("first", "second", "third") for what in _LIFE]
        expect(lines == right, f"the steps noted {lines}")

    @check("What a step gives comes back, and reaches the next step.")
    def test_outputs_come_back(self, driver: Driver) -> None:
        """Nothing, texts, nested and large values."""
        found = driver.run("outputs").finished()
        lost = [name for name, is_equal in found.items() if not is_equal]
        expect(not lost, f"lost or changed: {', '.join(lost)}")

    @check("What a step logs is there when it has ended.")
    def test_metrics_come_back(self, driver: Driver) -> None:
        """The last value of each."""
        metrics = driver.run("metrics").finished()
        expect(metrics == {"loss": 0.125}, f"the step's metrics are {metrics}")

    @check("A function of a script or notebook travels by value.")
    def test_function_of_a_script_runs(self, driver: Driver) -> None:
        """A closure."""
        value = driver.run("by value").finished()
        expect(value == 15, f"it gave {value}")

    @check("run is called from up to `places` threads at once.")
    def test_many_jobs_keep_their_outputs_apart(self, driver: Driver) -> None:
        """A step for each item of a list."""
        found = driver.run("many").finished()
        right = [2 * number for number in range(MANY)]
        expect(found["numbers"] == right, f"{MANY} steps gave {found['numbers']}")
        expect(found["lines"] == 2 * MANY, f"{MANY} steps began and ended {found['lines']} times")
        places = driver.orchestrator.places
        expect(found["most"] <= places, f"{found['most']} steps ran at once on {places} places")

    @check("As many attempts as there are places run at once.", runs_several)
    def test_two_steps_run_at_once(self, driver: Driver) -> None:
        """Each waits for the other one."""
        met = driver.run("meet").finished()
        expect(met == [True, True], "one step ran after the other")

    @check("What a step raises comes back with its type and arguments.")
    @pytest.mark.parametrize("name", steps.ERRORS)
    def test_exception_comes_back(self, driver: Driver, name: str) -> None:
        """With where it was raised, and as the step's error."""
        wanted = steps.ERRORS[name]
        seen = driver.run(f"raises:{name}")
        error = seen.raised(type(wanted).__name__)
        right, code = repr(wanted.args), getattr(wanted, "code", None)
        expect(error["arguments"] == right, f"its arguments are {error['arguments']}, not {right}")
        expect(error["code"] == code, f"its attribute is {error['code']}, not {code}")
        expect("in fail" in error["traceback"], "the traceback does not show the step's line")
        expect(seen.statuses["fail"] != "finished", f"the step is {seen.statuses['fail']}")

    @check("An exception that cannot travel fails the step with its text.")
    def test_stubborn_exception_fails_the_step(self, driver: Driver) -> None:
        """It holds a lock, and cannot be made again from its arguments."""
        seen = driver.run("stubborn")
        error = seen.raised("StubbornError", "StepError")
        expect("stuck: a lock" in error["text"], f"the text is {error['text']!r}")
        expect(seen.statuses == {"fail_stubbornly": "failed"}, f"the steps are {seen.statuses}")

    @check("An output that cannot be stored fails the step.")
    def test_output_that_cannot_be_stored_fails_the_step(self, driver: Driver) -> None:
        """A lock."""
        seen = driver.run("lock out")
        seen.raised("OutputError")
        expect(seen.statuses == {"give_a_lock": "failed"}, f"the steps are {seen.statuses}")

    @check("What cannot be moved elsewhere is said by what job.pack raises.", runs_elsewhere)
    def test_argument_that_cannot_travel_is_said(self, driver: Driver) -> None:
        """A lock."""
        seen = driver.run("lock in")
        seen.raised("PipelineError")
        expect(seen.statuses == {"take_a_lock": "failed"}, f"the steps are {seen.statuses}")

    @check("A step is interrupted when its timeout is over.")
    def test_timeout_is_told(self, driver: Driver) -> None:
        """A step that sleeps."""
        seen = driver.run("sleeps")
        seen.raised("StepTimeoutError")
        _expect_soon(driver, seen.seconds, 1.0)

    @check("A step that does not heed its timeout is ended.", runs_elsewhere)
    def test_step_that_heeds_no_timeout_is_ended(self, driver: Driver) -> None:
        """It is a crash: job.patience says when."""
        seen = driver.run("deaf")
        seen.raised("StepCrashedError")
        expect(seen.statuses == {"never_listen": "crashed"}, f"the steps are {seen.statuses}")
        _expect_soon(driver, seen.seconds, 1.0 + GRACE)
        expect(not seen.left, f"there is still {'; '.join(seen.left)}")

    @check(
        "Where the process of a step has died, run raises StepCrashedError, or gives an Outcome "
        "whose error it is.",
        runs_elsewhere,
    )
    @pytest.mark.parametrize("way", ["kill -9", "exit 0", "exit 3"])
    def test_death_is_a_crash_of_that_step_alone(self, driver: Driver, way: str) -> None:
        """By a signal, and by os._exit; the other steps finish."""
        seen = driver.run(f"dies:{way}")
        seen.raised("StepCrashedError")
        expect(seen.runs[0]["status"] == "crashed", f"the run is {seen.runs[0]['status']}")
        expect(seen.statuses.pop("die") == "crashed", f"the step is {seen.runs[0]['steps']}")
        others = set(seen.statuses.values())
        expect(others == {"finished"}, f"the other steps are {seen.statuses}")

    @check(
        "Where a step goes and what it sets in the environment is seen by no other one.",
        runs_elsewhere,
    )
    def test_steps_leave_nothing_to_the_next_one(self, driver: Driver) -> None:
        """Four of them, one after the other."""
        seen = driver.run("roams").finished()
        folders = {found["folder"] for found in seen}
        expect(len(folders) == 1, f"they began in {', '.join(sorted(folders))}")
        expect(not any(found["variable"] for found in seen), "a variable was left to the next one")

    @check("A step begins in the driver's working directory, with the driver's environment.")
    def test_steps_begin_where_the_driver_is(self, driver: Driver) -> None:
        """Neither is in the bytes: a shell on another machine has neither."""
        other = driver.run("surroundings").finished()
        expect(not other, f"a step saw {other}")

    @check("What a tracker holds in the environment for a moment reaches no step.", runs_elsewhere)
    def test_steps_see_nothing_that_a_tracker_holds(self, driver: Driver) -> None:
        """Such as its token: a new variable, and one in the place of the user's."""
        seen = driver.run("held").finished()
        hint = "start processes with own_environment(), or have them set os.environ to it"
        expect("a tracker's" not in seen, f"the steps saw the values {seen}: {hint}")

    @check("A step may write to its process's streams, whatever it likes.")
    def test_what_a_step_prints_is_no_outcome(self, driver: Driver) -> None:
        """A megabyte, bytes that are no text, and lines of a child."""
        value = driver.run("talks").finished()
        expect(value == 7, f"the step gave {value}")

    @check("The driver's process stays as it is.")
    def test_nothing_of_the_driver_is_changed(self, driver: Driver) -> None:
        """Its working directory, environment, path, signals and streams."""
        changed = driver.run("untouched").finished()
        expect(not changed, f"changed: {', '.join(changed or [])}")

    @check("One instance serves one pipeline run.")
    def test_a_script_may_run_two_pipelines(self, driver: Driver) -> None:
        """One after the other."""
        statuses = driver.run("twice").finished()
        expect(statuses == ["finished", "finished"], f"the runs are {statuses}")

    @check("close is called although nothing was run.")
    def test_pipeline_that_is_cached_ends(self, driver: Driver) -> None:
        """The second time all of it is taken from the cache."""
        found = driver.run("idle").finished()
        expect(found == [["finished"], ["cached"]], f"the steps are {found}")

    @check("close ends what was started for this pipeline run.")
    def test_no_process_is_left(self, driver: Driver) -> None:
        """Not even one that has ended and was not waited for."""
        seen = driver.run("many")
        expect(not seen.left, f"there is still {'; '.join(seen.left)}")

    @check("stop ends what runs, so that each run returns soon; no other step begins.")
    def test_ctrl_c_stops_the_steps(self, driver: Driver) -> None:
        """They may tidy up first."""
        count = min(2, driver.orchestrator.places)
        seen, running = driver.stop(f"stopped:heeds:{count + 2}", count)
        seen.raised("KeyboardInterrupt")
        _expect_soon(driver, seen.seconds, GRACE)
        expect(not running, f"steps go on in {running}")
        expect(seen.runs[0]["status"] == "killed", f"the run is {seen.runs[0]['status']}")
        stopped = [line for line in driver.lines() if line.startswith("stopped")]
        expect(len(stopped) >= count, "a step was not told to stop: its finally block did not run")

    @check("A step that does not stop when it is told to is ended.", runs_elsewhere)
    def test_step_that_goes_on_after_ctrl_c_is_ended(self, driver: Driver) -> None:
        """It catches whatever comes."""
        seen, running = driver.stop("stopped:never:1", 1)
        seen.raised("KeyboardInterrupt")
        _expect_soon(driver, seen.seconds, GRACE)
        expect(not running, f"steps go on in {running}")


_LIFE = ("begins", "ends")


def _expect_soon(driver: Driver, seconds: float, promised: float) -> None:
    leeway = driver.patience / 4  # a machine has other work, too
    expect(seconds < promised + leeway, f"it took {seconds:.0f} s, where {promised:g} s are asked")
