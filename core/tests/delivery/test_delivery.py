"""Does a run reach its tracker whole and in order, whatever the backend does meanwhile?"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import suppress
from typing import ClassVar

import pytest
from canary import CANARY
from keeper import Keeper
from left_behind import remove
from recorder import Recorder

from trackyard import (
    Capabilities,
    RejectedRecords,
    RetryLater,
    flavor,
    hookimpl,
    pipeline,
    resume_run,
    start_run,
    step,
)
from trackyard.delivery import delivery
from trackyard.delivery.budgets import Backoff, Budget
from trackyard.delivery.state import load_state

ERRORS = {
    "later": lambda: RetryLater("busy"),
    "refused": lambda: ConnectionRefusedError("refused"),
    "broken": lambda: RuntimeError("odd"),
}


@flavor
class Flaky(Recorder):
    """Fails the first times that a hook is called."""

    fails: str = ""
    times: int = 1
    error: str = "later"
    after: float | None = None

    def note(self, hook, run, **more):
        tried = self.directory / f"tried-{run.id}-{hook}"
        self.directory.mkdir(parents=True, exist_ok=True)
        with tried.open("a") as file:
            print(time.monotonic(), file=file)
        if hook == self.fails and len(tried.read_text().splitlines()) <= self.times:
            raise RetryLater("busy", after=self.after) if self.after else ERRORS[self.error]()
        super().note(hook, run, **more)


class Picky(Recorder):
    """Names the records that it refuses."""

    @hookimpl
    def tracker_log(self, run, batch):
        bad = [metric for metric in batch.metrics if metric.key.startswith("bad")]
        if bad:
            raise RejectedRecords(bad, "no such metric")
        Recorder.tracker_log(self, run, batch)


class Poisoned(Recorder):
    """Fails with any batch that holds a record that it cannot take."""

    @hookimpl
    def tracker_log(self, run, batch):
        keys = [record.key for record in (*batch.metrics, *batch.params, *batch.tags)]
        if any(key.startswith("bad") for key in keys):
            raise ValueError("cannot be taken")
        Recorder.tracker_log(self, run, batch)


class Small(Recorder):
    """Takes seven records at a time."""

    capabilities: ClassVar[Capabilities] = Capabilities(largest_batch=7)


class SmallAndFlaky(Flaky):
    """Takes seven records at a time, and not always."""

    capabilities: ClassVar[Capabilities] = Capabilities(largest_batch=7)


class Narrow(Recorder):
    """Has limits of every kind."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=frozenset({"file", "text"}),
        key_pattern=r"\w+",
        param_length=20,
        step_rule="integer",
        not_a_number="drop",
    )


class OnePointAStep(Recorder):
    """Needs a step, and takes one point of a key at each."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        points_per_step="one", needs_step=True, least_step=0, time_resolution=None
    )


class OneAtATime(Recorder):
    """Can hold one run at a time."""

    capabilities: ClassVar[Capabilities] = Capabilities(concurrent_runs=False)


class Forwarding(Recorder):
    """Keeps native calls in files; the first try to forward them fails."""

    capabilities: ClassVar[Capabilities] = Capabilities(forwards_native=True)

    @hookimpl
    def tracker_sync_run(self, run):
        self.note("sync", run)
        if self.calls_file.read_text().count('"sync"') == 1:
            raise RetryLater("busy")


@flavor
class Hanging(Recorder):
    """Hangs in a hook until the test ends."""

    hook: str = "start"
    release: ClassVar[threading.Event] = threading.Event()

    def note(self, hook, run, **more):
        if hook == self.hook:
            self.release.wait(30)
        super().note(hook, run, **more)


class Deadlines(Recorder):
    """Notes how much time each hook has."""

    def note(self, hook, run, **more):
        super().note("deadline", run, deadline=run.deadline)


@pytest.fixture
def hanging(project):
    Hanging.release.clear()
    yield project
    Hanging.release.set()


def took(function):
    begun = time.monotonic()
    function()
    return time.monotonic() - begun


def wait_until(is_so):
    end = time.monotonic() + 10
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)


# Retries


@pytest.mark.parametrize("error", ERRORS)
def test_start_that_fails_once_is_made_up_for(project, error):
    project.add_tracker("local", Flaky, fails="start", error=error)
    with start_run() as run:
        run.log_metric("a", 1)

    assert project.hooks() == ["start", "log", "end"]
    assert project.logged("metrics") == [["a", 1.0, None]]


@pytest.mark.parametrize("error", ["later", "refused"])
@pytest.mark.parametrize("flavor", [Flaky, SmallAndFlaky])
def test_batch_that_cannot_be_taken_now_is_sent_again_and_in_order(project, flavor, error):
    project.add_tracker("local", flavor, fails="log", error=error)
    with start_run() as run:
        for number in range(50):
            run.log_metric("a", number, number)

    assert project.hooks() == ["start", "log", "end"]
    assert [metric[1] for metric in project.logged("metrics")] == list(range(50))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("hook", ["end", "fail"])
def test_end_that_fails_once_is_made_up_for(project, hook, error):
    project.add_tracker("local", Flaky, fails=hook, error=error)
    try:
        with start_run():
            assert hook == "end"
    except AssertionError:
        pass

    assert project.hooks() == ["start", hook]


def test_backend_says_how_long_to_wait(project):
    project.add_tracker("local", Flaky, fails="log", after=0.7)
    with start_run() as run:
        run.log_metric("a", 1)
        wait_until(lambda: project.logged("metrics"))
    (tried,) = (project.root / "calls" / "local").glob("tried-*-log")
    first, second = map(float, tried.read_text().splitlines())

    assert 0.7 <= second - first < 3


def test_native_calls_are_forwarded_while_the_run_lives_and_not_after(project, monkeypatch):
    monkeypatch.setattr("trackyard.delivery.delivery.FORWARD_EVERY", 0.01)
    project.add_tracker("local", Forwarding)

    with start_run("a"):
        end = time.monotonic() + 10
        while len(project.calls("sync")) < 3 and time.monotonic() < end:
            time.sleep(0.01)

    assert len(project.calls("sync")) >= 3
    assert project.hooks()[0] == "start"
    assert project.hooks()[-1] == "end"


def test_native_calls_are_forwarded_by_those_alone_who_keep_them(project):
    project.add_tracker("local", Keeper)

    with start_run("a") as run:
        run.log_metric("a", 1)

    assert project.hooks() == ["start", "log", "end"]


@flavor
class Slow(Recorder):
    """Take one record at a time, and each for a while."""

    capabilities: ClassVar[Capabilities] = Capabilities(largest_batch=1)

    @hookimpl
    def tracker_log(self, run, batch):
        time.sleep(0.02)
        super().tracker_log(run, batch)


@pytest.mark.parametrize("fails", [True, False])
def test_status_of_a_run_that_failed_does_not_wait_for_a_long_backlog(project, monkeypatch, fails):
    monkeypatch.setattr(delivery, "END_AFTER", 0.3)
    project.add_tracker("local", Slow, flush_timeout=60)
    with suppress(ValueError), start_run() as run:
        for number in range(100):
            run.log_metric("loss", number)
        if fails:
            raise ValueError
    hooks = project.hooks()

    assert [value for _, value, _ in project.logged("metrics")] == list(range(100))
    assert hooks == (["start", "log", "fail"] * 2 if fails else ["start", "log", "end"])


def test_end_comes_once(project):
    project.add_tracker("local", Recorder)
    with start_run():
        pass
    time.sleep(0.2)

    assert project.hooks() == ["start", "end"]


# Records that are refused


def test_refused_records_are_named_and_their_neighbours_arrive(project, caplog):
    project.add_tracker("local", Picky)
    with start_run() as run:
        for number in range(20):
            run.log_metrics({f"good {number}": number, f"bad {number}": number})

    keys = [metric[0] for metric in project.logged("metrics")]
    assert keys == [f"good {number}" for number in range(20)]
    assert project.hooks() == ["start", "log", "end"]
    assert caplog.text.count("experiment tracker 'local' refused metric 'bad 0': ") == 1
    assert caplog.text.count("refused metric") == 1  # one warning a matter
    assert "no such metric" in caplog.text
    assert "20 were refused" in caplog.text


def test_poison_is_found_and_its_neighbours_arrive_in_order(project, caplog):
    project.add_tracker("local", Poisoned)
    with start_run() as run:
        for number in range(100):
            run.log_metric("bad" if number in (13, 14, 77) else "good", number, number)
        run.log_param("bad param", 1)
        run.set_tag("good tag", 1)

    expected = [number for number in range(100) if number not in (13, 14, 77)]
    assert [metric[1] for metric in project.logged("metrics")] == expected
    assert project.logged("tags") == [["good tag", "1"]]
    assert project.hooks()[-1] == "end"
    assert caplog.text.count("'local' refused ") == 1


def test_nothing_but_poison_still_ends_the_run(project):
    project.add_tracker("local", Poisoned)
    with start_run() as run:
        run.log_metric("bad", 1)

    assert project.hooks() == ["start", "end"]


# Limits


def test_no_batch_is_larger_than_the_backend_takes(project):
    project.add_tracker("local", Small)
    with start_run() as run:
        for number in range(20):
            run.log_metric("a", number)
        run.log_metrics({f"m{number}": number for number in range(30)})
    sizes = [len(call["metrics"]) for call in project.calls("log")]

    assert sum(sizes) == 50
    assert max(sizes) <= 7


def test_records_are_fitted_to_the_backend(project):
    project.add_tracker("local", Narrow)
    with start_run() as run:
        run.log_metric("train/loss", 0.5, step=1.5)
        run.log_metric("train/loss", float("nan"))
        run.log_param("config", "x" * 100)
        run.log_text("text", "../notes.txt")

    assert project.logged("metrics") == [["train_u2f_loss", 0.5, 1]]
    assert project.logged("params") == [["config", "x" * 19 + "…"]]
    assert [(a[0], a[1], a[4]) for a in project.logged("artifacts")] == [
        ("trackyard/params/config.txt", "text", "x" * 100),
        ("notes.txt", "text", "text"),
    ]


def test_points_are_put_at_steps_that_are_free_and_that_is_told(project):
    project.add_tracker("local", OnePointAStep)
    with start_run() as run:
        for number in range(3):
            run.log_metric("loss", number, step=7)
            run.log_metric("rate", number)
    folder = project.root / ".trackyard" / "runs" / run.id / "local"

    assert sorted(project.logged("metrics")) == [
        *(["loss", number, 7 + number] for number in range(3)),
        *(["rate", number, number] for number in range(3)),
    ]
    assert load_state(folder).changes == {
        "points whose step had one were sent at the next free step": 2,
        "points without a step were numbered": 3,
        "points have the time of their arrival": 6,
    }


def test_who_goes_on_knows_which_steps_are_taken(project):
    project.add_tracker("local", OnePointAStep)
    with start_run("a") as run:
        run.log_metrics({"loss": 0.0, "rate": 0.0}, step=1)
        run.log_metric("rate", 0.5)
    with resume_run(run.id) as run:
        run.log_metrics({"loss": 1.0, "rate": 1.0}, step=1)
        run.log_metric("rate", 1.5)

    assert sorted(project.logged("metrics")) == [
        ["loss", 0.0, 1],
        ["loss", 1.0, 2],
        ["rate", 0.0, 1],
        ["rate", 0.5, 0],
        ["rate", 1.0, 2],
        ["rate", 1.5, 3],
    ]


def test_order_of_a_batch_is_the_order_of_logging(project):
    project.add_tracker("local", Recorder)
    with start_run() as run:
        for number in range(300):
            run.log_metric("m", number)
            run.set_tag("t", number)

    assert [metric[1] for metric in project.logged("metrics")] == list(range(300))
    assert [tag[1] for tag in project.logged("tags")] == [str(number) for number in range(300)]


def test_ranges_of_batches_follow_one_another(project):
    project.add_tracker("local", Small)
    with start_run() as run:
        for number in range(30):
            run.log_metric("m", number)
    ranges = [call["range"] for call in project.calls("log")]

    assert all(first <= last for first, last in ranges)
    assert ranges == sorted(ranges)


# Time


def test_hanging_start_costs_its_timeout_and_the_records_wait(hanging, caplog):
    hanging.add_tracker("local", Hanging, start_timeout=0.2, flush_timeout=0.2)

    def run():
        with start_run() as run:
            run.log_metric("a", 1)
            assert run.url is None

    assert took(run) < 20  # and not for ever
    assert "experiment tracker 'local' starts late: not up within 0.2 s" in caplog.text
    assert "has not taken 1 record(s) and the end of 1 run(s)" in caplog.text


class Making(Recorder):
    """Makes its store on this machine, the first time."""

    @hookimpl
    def tracker_ui_command(self, host, port):
        return ["true"]

    def note(self, hook, run, **more):
        if hook == "start":
            time.sleep(1.5)
        super().note(hook, run, **more)


def test_very_first_start_of_a_store_on_this_machine_is_waited_for(project, caplog, monkeypatch):
    """Who has just installed it sees a URL, however long the SDK takes to be imported."""
    monkeypatch.setattr("trackyard.tracking.lifecycle._USUAL_START", 0.2)
    project.add_tracker("local", Making, start_timeout=0.2)
    with start_run() as run:
        assert run.url is not None
    assert "'local' makes its store on this machine: waiting for that, 60 s at most" in caplog.text
    caplog.clear()

    with start_run() as run:
        assert run.url is None
    assert "starts late: not up within 0.2 s" in caplog.text


def test_what_a_long_run_lacks_is_not_counted_to_its_end(hanging, caplog, monkeypatch):
    monkeypatch.setattr("trackyard.tracking.lifecycle._COUNTED", 100)
    hanging.add_tracker("local", Hanging, start_timeout=0.2, flush_timeout=0.2)
    with start_run() as run:
        for number in range(5000):
            run.log_metric("a", number)

    (counted,) = re.findall(r"has not taken (\d+) and more record\(s\) and the end", caplog.text)
    assert 100 < int(counted) < 5000


def test_hanging_start_costs_its_timeout_once_per_pipeline_run(hanging):
    hanging.add_tracker("local", Hanging, start_timeout=1, flush_timeout=0.1)

    @step(experiment_tracker="local")
    def wait(before=None): ...

    @pipeline
    def waits():
        before = None
        for _ in range(20):
            before = wait(before)

    assert took(waits) < 15  # and not 20 times a second


def test_hanging_neighbour_holds_nothing_up(hanging):
    hanging.add_tracker("slow", Hanging, hook="log", start_timeout=0.2, flush_timeout=0.3)
    hanging.add_tracker("local", Recorder)

    def run():
        with start_run() as run:
            run.log_metric("a", 1)

    assert took(run) < 20  # and not for ever
    assert hanging.hooks("local") == ["start", "log", "end"]


def test_hanging_end_costs_the_flush_timeout(hanging, caplog):
    hanging.add_tracker("local", Hanging, hook="end", flush_timeout=0.2)

    def run():
        with start_run():
            pass

    assert took(run) < 20  # and not for ever
    assert "has not taken 0 record(s) and the end of 1 run(s)" in caplog.text


def test_start_without_time_to_wait_starts_late(project):
    project.add_tracker("local", Recorder, start_timeout=0)
    with start_run() as run:
        run.log_metric("a", 1)

    assert project.hooks() == ["start", "log", "end"]


def test_records_arrive_while_the_run_lives(project):
    project.add_tracker("local", Recorder)
    with start_run() as run:
        run.log_metric("a", 1)
        wait_until(lambda: project.logged("metrics"))
        assert project.logged("metrics") == [["a", 1.0, None]]


def test_deadline_of_a_start_is_its_timeout(project):
    project.add_tracker("local", Deadlines, start_timeout=3)
    with start_run() as run:
        run.log_metric("a", 1)

    assert [call["deadline"] for call in project.calls("deadline")] == [3.0, 30.0, 30.0]


def test_tracker_with_one_run_at_a_time_gets_them_one_after_the_other(project):
    project.add_tracker("local", OneAtATime)

    @step(experiment_tracker="local")
    def train(before=None): ...

    @pipeline
    def training():
        train(train(train()))

    training()

    assert project.hooks() == ["start", "end"] * 3


# Budgets and back-off


def test_budget_is_spent_by_waiting():
    budget = Budget(0.05)
    event = threading.Event()

    assert not budget.wait(event.wait)
    assert budget.left == 0
    assert not budget.wait(event.wait)


def test_budget_is_not_spent_on_what_has_happened():
    budget = Budget(5)
    event = threading.Event()
    event.set()

    assert budget.wait(event.wait)
    assert budget.left == 5


def test_budget_may_be_closed():
    budget = Budget(5)
    budget.close()
    event = threading.Event()

    assert took(lambda: budget.wait(event.wait)) < 4
    event.set()
    assert budget.wait(event.wait)


def test_budget_may_be_spent_in_parts():
    budget = Budget(5)

    assert not budget.wait(threading.Event().wait, most=0.01)
    assert 4 < budget.left < 5


def test_retries_wait_longer_and_longer_up_to_a_minute():
    backoff = Backoff()
    delays = [backoff.delay() for _ in range(30)]

    assert all(0.05 <= delay <= 60 for delay in delays)
    assert delays[0] <= 0.1
    assert delays[1] <= 0.2
    assert sum(delays[:5]) <= 3.1
    assert max(delays) > 5


def test_retries_start_anew_after_a_success():
    backoff = Backoff()
    for _ in range(20):
        backoff.delay()
    backoff.reset()

    assert backoff.delay() <= 0.1


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(100, 100, 100), (10_000, 300, 300), (0, 0, 1)]
)
def test_backend_may_ask_for_up_to_five_minutes(asked, least, most):
    assert least <= Backoff().delay(asked) <= most


class Short(Recorder):
    capabilities: ClassVar[Capabilities] = Capabilities(param_length=10)


@pytest.mark.parametrize("text", ["\ud800", "漢" * 300])
def test_param_that_cannot_be_fitted_blocks_nothing_behind_it(project, text):
    project.add_tracker("local", Short, flush_timeout=4)
    with start_run() as run:
        run.log_metric("before", 1)
        run.log_param(text, "x" * 100)
        run.log_metric("after", 1)
    assert [m[0] for m in project.logged("metrics")] == ["before", "after"]
    assert project.hooks()[-1] == "end"


@pytest.mark.parametrize("how", ["unwritable", "removed"])
def test_run_without_a_folder_still_ends_in_its_tracker(project, monkeypatch, how):
    project.add_tracker("local", Recorder, flush_timeout=2)
    if how == "unwritable":
        monkeypatch.setenv("TRACKYARD_HOME", "/dev/null/x")
    with start_run() as run:
        run.log_metric("a", 1)
        if how == "removed":
            remove(project.root / ".trackyard")
    assert project.hooks()[-1] == "end"


def test_secrets_are_redacted_from_what_is_logged(project, monkeypatch):
    monkeypatch.setenv("ANNS_TOKEN", CANARY)
    project.add_tracker("local", Recorder, token="env:ANNS_TOKEN")
    with start_run() as run:
        run.log_param("p", CANARY)
        run.set_tag("t", "https://ann:pass@host")
        run.log_text(CANARY, "a.txt")
    text = json.dumps(project.calls("log"))
    assert CANARY not in text
    assert "ann:pass" not in text


class Odd:
    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError


class OddlyRejecting(Recorder):
    @hookimpl
    def tracker_log(self, run, batch):
        raise RejectedRecords([Odd()], "no")


def test_rejected_records_that_compare_oddly_block_nothing(project):
    project.add_tracker("local", OddlyRejecting, flush_timeout=4)
    with start_run() as run:
        run.log_metric("a", 1)
    assert project.hooks()[-1] == "end"


def test_many_files_come_in_several_calls(project):
    project.add_tracker("local", Recorder)
    with start_run() as run:
        for number in range(50):
            run.log_text("x", f"{number:02}.txt")
    calls = [call for call in project.calls("log") if call["artifacts"]]

    assert [name for name, *_ in project.logged("artifacts")] == [f"{n:02}.txt" for n in range(50)]
    assert max(len(call["artifacts"]) for call in calls) <= 20
