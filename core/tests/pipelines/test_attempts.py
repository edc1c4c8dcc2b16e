"""Are steps tried again, interrupted at their timeout, told of and made for each item?"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from small_steps import failing, load, statuses, total, tracked

from trackyard import (
    Client,
    PipelineError,
    StepTimeoutError,
    current_run,
    pipeline,
    step,
)


def test_attempts_are_linked_to_each_other(local):
    tries = []

    @step(experiment_tracker="local", retries=2, retry_delay=0)
    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise OSError(f"try {len(tries)}")

    run = pipeline(flaky)()

    first, second, third = (call for call in local.calls("start"))
    assert first["tags"] == {}
    assert second["tags"] == {"trackyard.retry_of": first["id"]}
    assert third["tags"] == {"trackyard.retry_of": second["id"]}
    assert local.logged("tags") == [
        ["trackyard.retried_as", second["id"]],
        ["trackyard.retried_as", third["id"]],
    ]
    assert [a.id for a in run.steps["flaky"].attempts] == [first["id"], second["id"], third["id"]]


def test_retries_wait_longer_each_time(project):
    moments = []

    @step(retries=2, retry_delay=0.1)
    def failing():
        moments.append(time.monotonic())
        raise OSError("odd")

    with pytest.raises(OSError, match="odd"):
        pipeline(failing)()

    first, second, third = moments
    assert second - first >= 0.05
    assert third - second >= 0.1


@pytest.mark.parametrize("in_thread", [False, True])
def test_step_that_takes_too_long_fails(local, in_thread):
    @step(experiment_tracker="local", timeout=0.1)
    def endless():
        while True:
            time.sleep(0.01)

    @pipeline
    def slow():
        tracked(endless())
        total(load())

    if in_thread:
        with ThreadPoolExecutor(1) as pool, pytest.raises(StepTimeoutError):
            pool.submit(slow).result()
    else:
        with pytest.raises(StepTimeoutError, match="longer than its timeout"):
            slow()

    assert statuses() == {
        "endless": "failed",
        "tracked": "skipped",
        "load": "finished",
        "total": "finished",
    }
    assert local.calls("fail")[0]["failure"]["kind"] == "StepTimeoutError"
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


@pytest.mark.parametrize("in_thread", [False, True])
def test_timeout_that_a_step_swallows_is_raised_at_its_end(project, in_thread):
    @step(timeout=0.05)
    def swallowing() -> str:
        with contextlib.suppress(Exception):
            while True:
                time.sleep(0.01)
        return "done"

    with ThreadPoolExecutor(1) as pool, pytest.raises(StepTimeoutError):
        pool.submit(pipeline(swallowing)).result() if in_thread else pipeline(swallowing)()

    assert statuses() == {"swallowing": "failed"}


def test_longest_timeout_is_no_limit(project):
    assert pipeline(load.with_options(timeout=1e30))().status == "finished"
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_callbacks_get_the_step_run_and_change_nothing(local, caplog):
    called = []

    def succeed(found):
        called.append(("success", found.name, found.status, found.url))
        raise RuntimeError("the callback is broken")

    def fail(found):
        called.append(("failure", found.name, found.status, found.error))
        sys.exit(3)

    @pipeline
    def calling():
        tracked.with_options(on_success=succeed, on_failure=fail)()
        failing.with_options(on_success=succeed, on_failure=fail, retries=1, retry_delay=0)()

    with pytest.raises(ValueError, match="odd"):
        calling()

    assert [call[:3] for call in called] == [
        ("success", "tracked", "finished"),
        ("failure", "failing", "failed"),
    ]
    assert called[0][3].startswith("https://tracker.test/")
    assert called[1][3] == "ValueError: odd"
    assert statuses() == {"tracked": "finished", "failing": "failed"}
    assert "the callback is broken" in caplog.text


def test_step_run_has_all_there_is_wherever_it_is_given(local):
    tries, given = [], []

    @step(experiment_tracker="local", retries=1, retry_delay=0, on_success=given.append)
    def unsteady(values) -> int:
        tries.append(len(tries))
        current_run().log_metric("loss", 0.5, step=0)
        current_run().log_param("rate", 0.1)
        if len(tries) == 1:
            raise ValueError("odd")
        return 1

    @pipeline
    def training():
        unsteady(load())

    training()

    client = Client()
    given.append(client.get_output("unsteady.output").made_by)
    given += client.get_output("load.output").read_by[-1:]
    for found in given:
        assert [(a.attempt, a.status) for a in found.attempts] == [(1, "failed"), (2, "finished")]
        assert found.attempts[-1] is found
        assert found.curves["loss"].values == found.attempts[0].curves["loss"].values == [0.5]
        assert (found.params, dict(found.metrics)) == ({"rate": 0.1}, {"loss": 0.5})
        assert [health.tracker for health in found.health] == ["local"]
    assert len(given) == 3


def test_callback_that_hangs_is_left_alone(project, monkeypatch, caplog):
    monkeypatch.setattr("trackyard.pipelines.callbacks.PATIENCE", 0.05)
    leave = threading.Event()

    run = pipeline(load.with_options(on_success=lambda _: leave.wait(20)))()
    leave.set()

    assert run.status == "finished"
    assert "left alone" in caplog.text


def test_step_is_called_for_each_item(local):
    @step(experiment_tracker="local")
    def scaled(number: int, factor: int = 1) -> int:
        return number * factor

    @pipeline
    def mapping():
        doubled = scaled.map(load(), factor=2)
        total(scaled.map(doubled))
        total(scaled.map([4, 5], 1))

    run = mapping()

    assert run.steps["total"].outputs["output"].load() == 6
    assert run.steps["total_2"].outputs["output"].load() == 9
    names = [call["step"] for call in local.calls("start")]
    assert names == [f"scaled[{n}]" for n in range(3)] + [f"scaled_2[{n}]" for n in range(3)] + [
        "scaled_3[0]",
        "scaled_3[1]",
    ]
    assert scaled.map([1, 2], factor=3) == [3, 6]


def test_item_that_fails_skips_what_needs_all(local):
    @step
    def inverse(number: int) -> float:
        return 1 / number

    @pipeline
    def inverses():
        total(inverse.map(load()))

    with pytest.raises(ZeroDivisionError):
        inverses()

    assert statuses() == {
        "load": "finished",
        "inverse[0]": "failed",
        "inverse[1]": "finished",
        "inverse[2]": "finished",
        "total": "skipped",
    }


def test_what_is_no_list_is_not_mapped(project):
    @step
    def single() -> int:
        return 3

    with pytest.raises(PipelineError, match="map needs a list of items, not int"):
        pipeline(lambda: total(load.map(single())))()

    assert statuses() == {"single": "finished", "load[0]": "failed", "total": "skipped"}
    with pytest.raises(PipelineError, match="map needs several items, not 3"):
        pipeline(lambda: load.map(3))()
    with pytest.raises(PipelineError, match="pass them on as one list"):
        pipeline(lambda: list(load.map(single())))()
