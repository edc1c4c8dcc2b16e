"""Is a cached step taken in place of one that would give the same?"""

from __future__ import annotations

import importlib
import re
import sys
import threading
from pathlib import Path

import pytest

from trackyard import (
    Client,
    pipeline,
    step,
)


def caching_module(install, body):
    """Write a module with a cached step; a file counts its calls."""
    install(
        "cached",
        {
            "cached_steps": f"""
from pathlib import Path
from trackyard import log_metric, pipeline, step
FACTOR = 2
def helper(number):
    return number * FACTOR
@step(experiment_tracker="local", cache=True)
def double(number: int) -> int:
    with Path("calls.txt").open("a") as file:
        file.write("x")
    log_metric("m", number)
    return {body}
@step
def echo(number: int) -> int:
    return number
@pipeline
def doubling(number=1):
    echo(double(echo(number)))
"""
        },
    )
    sys.modules.pop("cached_steps", None)
    return importlib.import_module("cached_steps")


def calls_of(project):
    return len((project.root / "calls.txt").read_text())


def test_cached_step_has_the_original_url_and_says_so(local, install):
    module = caching_module(install, "helper(number)")
    first, second = module.doubling(), module.doubling()

    assert calls_of(local) == 1
    original, cached = first.steps["double"], second.steps["double"]
    assert (original.status, cached.status) == ("finished", "cached")
    assert cached.run_metadata["experiment_tracker_url"].value == original.url
    assert cached.run_metadata["cached_from"] == original.id
    assert cached.outputs["output"].load() == 2
    assert cached.metrics == {"m": 1}
    assert cached.curves["m"].values[-1] == 1
    assert second.status == "finished"
    assert second.steps["echo_2"].outputs["output"].load() == 2
    assert [call["step"] for call in local.calls("start")] == ["double"]
    readers = Client().get_output("doubling.double.output").read_by
    assert [reader.id for reader in readers] == [
        first.steps["echo_2"].id,
        second.steps["echo_2"].id,
    ]


def test_cached_step_is_shown_as_such_with_what_the_original_logged(
    local, install, monkeypatch, capsys
):
    monkeypatch.setenv("TRACKYARD_PROGRESS", "plain")
    module = caching_module(install, "helper(number)")
    url = module.doubling().steps["double"].url
    capsys.readouterr()
    second = module.doubling()
    written = capsys.readouterr().err
    shown = local.trackyard("runs", "show", second.name).stdout
    step_ = Client().get_run(second.name).steps[1]

    assert f"double cached  {url}" in written
    assert re.search(r"^double\s+cached\s", shown, re.MULTILINE)
    assert f"double on local  {url}" in shown
    assert "not on this machine" not in shown
    assert (step_.status, step_.urls, step_.has_journal) == ("cached", {"local": url}, True)
    assert [metric.last for metric in step_.metrics] == [1]
    assert step_.health == ()


def test_other_inputs_or_other_code_are_run(local, install, monkeypatch):
    module = caching_module(install, "helper(number)")
    module.doubling()
    module.doubling(2)
    assert calls_of(local) == 2
    monkeypatch.setattr(module, "FACTOR", 3)
    assert module.doubling().steps["double"].outputs["output"].load() == 3
    assert calls_of(local) == 3
    other = caching_module(install, "helper(number) + 1")
    assert other.doubling().steps["double"].status == "finished"
    assert calls_of(local) == 4


def test_failed_step_and_lost_output_are_run_again(local, install):
    failing_module = caching_module(install, "1 / 0")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            failing_module.doubling()
    assert calls_of(local) == 2

    module = caching_module(install, "helper(number)")
    first = module.doubling()
    Path(first.steps["double"].outputs["output"].uri).unlink()
    assert module.doubling().steps["double"].status == "finished"


def test_what_cannot_be_compared_is_not_cached(project, caplog):
    @step(cache=True)
    def locked(lock):
        pass

    pipeline(lambda: locked(threading.Lock()))()

    assert "cannot be compared" in caplog.text


def test_pickle_of_an_untrusted_store_is_made_again_and_not_taken(project, install):
    project.configure("[stacks.default]\nartifact_store_is_trusted = false\n")
    text = """
from trackyard import pipeline, step
@step(cache=True)
def model() -> object:
    return lambda: 1
@step
def score(model) -> int:
    return model()
@pipeline
def scoring():
    score(model())
"""
    for _ in range(2):  # as two processes would
        install("pickled", {"pickled_steps": text})
        sys.modules.pop("pickled_steps", None)
        run = importlib.import_module("pickled_steps").scoring()
        assert [step.status for step in run.steps.values()] == ["finished", "finished"]
