"""Does what a user logs reach every tracker, and does nothing that is logged ever raise?"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from canary import CANARY
from odd_values import ODD
from recorder import Recorder

import trackyard
from trackyard import (
    ConfigError,
    NoActiveRunError,
    RequiredTrackerError,
    current_run,
    hookimpl,
    log_metric,
    start_run,
)

CALLS = {
    "log_metric": ("a", 1.0),
    "log_metrics": ({"a": 1.0},),
    "log_param": ("a", 1),
    "log_params": ({"a": 1},),
    "set_tag": ("a", "b"),
    "set_tags": ({"a": "b"},),
    "log_artifact": ("file.txt",),
    "log_text": ("text", "a.txt"),
    "log_dict": ({"a": 1}, "a.json"),
    "log_image": (b"image", "a.png"),
    "log_figure": (type("Figure", (), {"savefig": lambda _, path: path.touch()})(), "a.png"),
    "log_table": ({"a": [1]}, "a.json"),
    "log_histogram": ([1, 2], "a"),
    "log_audio": (b"RIFF", "a.wav"),
    "log_video": (b"GIF8", "a.gif"),
    "log_model": ({"weights": [1]}, "a"),
    "log_dataset": ("a", {"x": [1]}),
}


class Failing(Recorder):
    """Cannot be started."""

    @hookimpl
    def tracker_start_run(self, run):
        raise OSError("no such server")


class Forgetful(Recorder):
    """Takes no records."""

    @hookimpl
    def tracker_end_run(self, run):
        raise OSError("cannot be ended")


@pytest.fixture
def local(project):
    project.add_tracker("local", Recorder)
    return project


@pytest.fixture(scope="module")
def journal_only(tmp_path_factory):
    """A run without trackers, which many tests may log to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("journal"))
        with start_run(experiment_tracker=None) as run:
            patch.undo()
            yield run


# One run


def test_run_is_started_logged_and_ended_in_this_order(local):
    with start_run("baseline", experiment="fraud") as run:
        run.log_metric("loss", 0.5, step=1)

    assert local.hooks() == ["start", "log", "end"]
    (start,) = local.calls("start")
    assert (start["id"], start["name"], start["step"]) == (run.id, "baseline", None)
    assert local.logged("metrics") == [["loss", 0.5, 1]]


def test_run_has_an_id_a_name_and_urls(local):
    with start_run("baseline", experiment="fraud") as run:
        url = f"https://tracker.test/fraud/{run.id}"

        assert re.fullmatch("[0-9a-f]{32}", run.id)
        assert run.name == "baseline"
        assert run.url == url
        assert run.urls == {"local": url}
        assert repr(run) == f"<ActiveRun baseline {url}>"


def test_run_without_a_name_is_named_after_its_experiment(project):
    with start_run(experiment="fraud") as run:
        assert re.fullmatch(r"fraud-\d{8}-\d{6}-[0-9a-f]{4}", run.name)
        assert run.url is None
        assert run.urls == {}
        assert "without URL" in repr(run)


def test_tags_of_the_start_are_texts(local):
    with start_run(tags={"a": 1, 2: None}):
        pass

    assert local.calls("start")[0]["tags"] == {"a": "1", "2": "None"}


def test_everything_reaches_the_tracker(local):
    (local.root / "file.txt").write_text("content")
    with start_run() as run:
        run.log_metric("a", 1, step=1)
        run.log_metrics({"b": 2, "c": 3.5}, step=2)
        run.log_param("d", 4)
        run.log_params({"e": "five", "f": None})
        run.set_tag("g", 6)
        run.set_tags({"h": "seven"})
        run.log_artifact("file.txt")
        run.log_text("text", "notes.txt", step=3)

    assert local.logged("metrics") == [["a", 1.0, 1], ["b", 2.0, 2], ["c", 3.5, 2]]
    assert local.logged("params") == [["d", 4], ["e", "five"], ["f", None]]
    assert local.logged("tags") == [["g", "6"], ["h", "seven"]]
    assert local.logged("artifacts") == [
        ["file.txt", "file", "text/plain", None, "content"],
        ["notes.txt", "text", "text/plain", 3, "text"],
    ]


@pytest.mark.parametrize("call", CALLS)
def test_call_of_the_module_is_the_method_of_the_current_run(local, call):
    (local.root / "file.txt").write_text("content")
    with start_run() as run:
        getattr(trackyard, call)(*CALLS[call])
        getattr(run, call)(*CALLS[call])

    records = [local.logged(kind) for kind in ("metrics", "params", "tags", "artifacts")]
    (found,) = filter(None, records)
    count = 4 if call == "log_model" else 2  # a model is a file, and what describes it
    assert len(found) == count
    assert found[: count // 2] == found[count // 2 :]


@pytest.mark.parametrize("call", CALLS)
def test_call_of_the_module_takes_what_the_method_takes(call):
    function = inspect.signature(getattr(trackyard, call)).parameters
    method = inspect.signature(getattr(trackyard.ActiveRun, call)).parameters

    assert [*function.values()] == [*method.values()][1:]


def test_every_tracker_gets_everything(local):
    local.add_tracker("team", Recorder)
    with start_run() as run:
        run.log_metric("a", 1)

    assert [*run.urls] == ["local", "team"]
    assert local.logged("metrics", "local") == local.logged("metrics", "team") != []


def test_chosen_tracker_gets_everything(local):
    local.add_tracker("team", Recorder)
    with start_run(experiment_tracker="team"):
        log_metric("a", 1)

    assert local.hooks("local") == []
    assert local.hooks("team") == ["start", "log", "end"]


def test_settings_reach_the_tracker(local):
    with start_run(settings={"local": {"label": "there"}}):
        pass

    assert local.calls("start")[0]["label"] == "there"


def test_run_without_tracker_goes_on(local):
    with start_run(experiment_tracker=None) as run:
        log_metric("a", 1)

    assert run.urls == {}
    assert local.hooks() == []


def test_block_is_not_run_where_the_configuration_is_wrong(local):
    with pytest.raises(ConfigError), start_run(experiment_tracker="zebra"):
        pytest.fail("the block was run")


def test_run_takes_records_after_its_end_without_a_word(local):
    with start_run() as run:
        pass
    run.log_metric("late", 1)
    run.log_text("late", "late.txt")

    assert local.hooks() == ["start", "end"]


def test_log_calls_of_one_call_share_step_and_moment(local):
    with start_run() as run:
        run.log_metrics({"a": 1, "b": 2}, step=5)

    assert len({tuple(call["range"]) for call in local.calls("log")}) == 1


# How a run ends


@pytest.mark.parametrize(
    "error",
    [ValueError("a"), StopIteration(1), AssertionError(), SystemExit(3)],
    ids=repr,
)
def test_error_of_the_block_comes_through_and_fails_the_run(local, error):
    with pytest.raises(type(error)) as caught, start_run():
        raise error

    assert caught.value is error
    assert local.hooks() == ["start", "fail"]
    failure = local.calls("fail")[0]["failure"]
    assert (failure["status"], failure["kind"]) == ("failed", type(error).__name__)
    assert failure["message"] == str(error)
    assert "in test_error_of_the_block_comes_through" in failure["traceback"]


def test_interrupted_run_is_killed(local):
    with pytest.raises(KeyboardInterrupt), start_run():
        raise KeyboardInterrupt

    assert local.calls("fail")[0]["failure"]["status"] == "killed"


@pytest.mark.parametrize("code", [None, 0])
def test_exit_without_error_finishes_the_run(local, code):
    with pytest.raises(SystemExit), start_run():
        raise SystemExit(code)

    assert local.hooks() == ["start", "end"]


def test_error_whose_text_raises_fails_the_run(local):
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    with pytest.raises(Silent), start_run():
        raise Silent

    assert local.calls("fail")[0]["failure"]["kind"] == "Silent"


def test_secrets_are_kept_out_of_a_failure(local, monkeypatch):
    monkeypatch.setenv("ANNS_TOKEN", CANARY)
    settings = {"local": {"token": "env:ANNS_TOKEN"}}
    with pytest.raises(ValueError), start_run(settings=settings):
        raise ValueError(f"{CANARY} and https://ann:pass@host/path")
    failure = local.calls("fail")[0]["failure"]

    assert failure["message"] == "*** and https://***@host/path"
    assert CANARY not in failure["traceback"]
    assert "ann:pass" not in failure["traceback"]


# Trackers that fail


def test_tracker_that_cannot_be_started_leaves_the_block_alone(project, caplog):
    project.add_tracker("local", Failing)
    with start_run() as run:
        run.log_metric("a", 1)

    assert run.url is None
    assert "experiment tracker 'local'" in caplog.text
    assert "no such server" in caplog.text


def test_required_tracker_that_cannot_be_started_raises_before_the_block(project):
    project.add_tracker("local", Failing, required=True)

    with (
        pytest.raises(RequiredTrackerError, match=r"'local' is required .* no such server"),
        start_run(),
    ):
        pytest.fail("the block was run")


def test_required_tracker_that_cannot_take_everything_raises_after_the_block(project):
    project.add_tracker("local", Forgetful, required=True, flush_timeout=0.3)
    done = []

    with (
        pytest.raises(RequiredTrackerError, match=r"'local' is required .* cannot be ended"),
        start_run(),
    ):
        done.append("all")
    assert done == ["all"]


def test_error_of_the_block_comes_before_that_of_a_required_tracker(project):
    project.add_tracker("local", Forgetful, required=True, flush_timeout=0.3)

    with pytest.raises(ZeroDivisionError), start_run():
        1 / 0


# The current run


@pytest.mark.parametrize("call", [*CALLS, "current_run", "native_run"])
def test_outside_any_run_a_call_says_where_it_belongs(project, call):
    arguments = {"current_run": (), "native_run": ("local",)}.get(call) or CALLS.get(call, ())

    with pytest.raises(NoActiveRunError) as caught:
        getattr(trackyard, call)(*arguments)
    assert str(caught.value) == (
        "no run is active; log inside a @step of a running pipeline, "
        "or inside `with trackyard.start_run(...)`"
    )


def test_current_run_is_that_of_the_block(project):
    with start_run() as outer:
        assert current_run() is outer
        with start_run() as inner:
            assert current_run() is inner
        assert current_run() is outer


def test_thread_finds_the_only_active_run(project):
    with start_run() as run, ThreadPoolExecutor(1) as pool:
        assert pool.submit(current_run).result() is run


def test_thread_that_outlives_its_run_finds_the_only_active_one(project):
    with start_run():
        context = contextvars.copy_context()
    with start_run() as second:
        assert context.run(current_run) is second


def test_thread_without_a_run_of_its_own_is_told_so_where_several_are_active(project):
    with start_run(), start_run(), ThreadPoolExecutor(1) as pool:
        error = pool.submit(current_run).exception()

    assert isinstance(error, NoActiveRunError)
    assert str(error).startswith("2 runs are active and none is this thread's; call the methods")


def test_runs_in_two_threads_are_kept_apart(local):
    barrier = threading.Barrier(2, timeout=10)

    def train(name):
        with start_run(name) as run:
            barrier.wait()
            log_metric(name, 1)
            barrier.wait()
            return run.id

    with ThreadPoolExecutor(2) as pool:
        ids = dict(zip("ab", pool.map(train, "ab"), strict=True))

    got = {call["id"]: call["metrics"] for call in local.calls("log")}
    assert got == {ids["a"]: [["a", 1.0, None]], ids["b"]: [["b", 1.0, None]]}


def test_runs_in_two_tasks_are_kept_apart(project):
    async def train(name):
        with start_run(name):
            await asyncio.sleep(0)
            return current_run().name

    async def both():
        return await asyncio.gather(train("a"), train("b"))

    assert asyncio.run(both()) == ["a", "b"]


def test_run_may_be_left_in_another_context(project):
    def steps():
        with start_run():
            yield

    generator = steps()
    contextvars.copy_context().run(next, generator)
    contextvars.copy_context().run(next, generator, None)

    with pytest.raises(NoActiveRunError):
        current_run()


def test_many_threads_may_log_to_one_run(local):
    with start_run() as run, ThreadPoolExecutor(8) as pool:
        for thread in range(8):
            pool.submit(lambda t: [run.log_metric(f"m{t}", n, n) for n in range(200)], thread)

    metrics = local.logged("metrics")
    assert len(metrics) == 1600
    for thread in range(8):
        assert [m[1] for m in metrics if m[0] == f"m{thread}"] == list(range(200))


# Native runs


def test_native_run_is_what_the_tracker_offers(local):
    with start_run("baseline") as run:
        assert run.native_run("local") == trackyard.native_run("local") == "native baseline"
        assert run.native_run("zebra") is None


def test_native_calls_go_to_the_first_tracker_of_a_flavor(local, caplog):
    local.add_tracker("team", Recorder)
    with start_run("baseline") as run:
        assert run.native_run("local") == "native baseline"
        assert run.native_run("team") is None

    assert "native calls go to experiment tracker 'local'; 'team', of the same" in caplog.text


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "x" * 10_000, "a/b", "../..", "\n"], ids=ascii)
def test_run_may_have_any_name(local, text):
    with start_run(text, experiment=text, tags={text: text}) as run:
        run.log_metric(text, 1)
        run.log_param(text, text)

    assert local.hooks() == ["start", "log", "end"]


def test_huge_records_arrive(local):
    with start_run() as run:
        run.log_metric("k" * 1_000_000, 1)
        run.log_param("p", "x" * 5_000_000)
        run.log_metrics({f"m{number}": number for number in range(20_000)})
        run.log_metric("last", 1)

    assert len(local.logged("metrics")) == 20_002
    assert len(local.logged("params")[0][1]) == 5_000_000


# Nothing raises


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("call", CALLS)
def test_no_call_raises_whatever_is_logged(journal_only, monkeypatch, tmp_path, call, name):
    monkeypatch.chdir(tmp_path)
    odd, usual = ODD[name], CALLS[call]
    method = getattr(journal_only, call)
    for place in range(len(usual)):
        method(*usual[:place], odd, *usual[place + 1 :])
    method(*[odd] * len(usual))
    if "step" in inspect.signature(method).parameters:
        method(*usual, step=odd)


NAMES = [
    "",
    ".",
    "..",
    "/",
    "/a",
    "a/",
    "a/../b",
    "\0",
    "\ud800",
    "a\nb",
    "é" * 200,
    "a" * 5000,
    ".png",
]
FILES = [call for call in CALLS if "name" in inspect.signature(getattr(trackyard, call)).parameters]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("call", FILES)
def test_no_name_of_a_file_raises(journal_only, monkeypatch, tmp_path, call, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").touch()
    getattr(journal_only, call)(CALLS[call][0], name)
    journal_only.log_figure(type("F", (), {"write_html": lambda _, path: path.touch()})(), name)


def test_odd_values_hold_nothing_up(local):
    with start_run() as run:
        for name, odd in ODD.items():
            run.log_metric(name, odd, step=odd)
            run.log_metric(odd, 1)
            run.log_param(odd, odd)
            run.set_tag(odd, odd)
            run.log_text(odd, odd, step=odd)
        run.log_metric("last", 1)

    assert local.logged("metrics")[-1] == ["last", 1.0, None]
    assert local.hooks()[-1] == "end"


def test_who_swaps_a_value_and_its_name_is_told_what_to_type(project, caplog):
    calls = [call for call in FILES if call not in ("log_artifact", "log_dataset")]
    with start_run(experiment_tracker=None) as run:
        for call in calls:
            getattr(run, call)("a.png", [[0.5]])
        run.log_dataset([[0.5]], "rows")
        run.log_metric(0.5, "loss")
        run.log_param(3, "epochs")
        run.set_tag({"a": 1}, "stage")

    messages = [record.message for record in caplog.records]
    assert len(messages) == len(calls) + 4
    for call, message in zip(calls, messages, strict=False):
        assert message.startswith(f"{call}: a list is no name; the value comes first")
        assert f"{call}({call[4:]}, 'a.png'); nothing was logged" in message
    assert [message.partition(" as in ")[2] for message in messages[-4:]] == [
        "log_dataset('rows', data)",
        "log_metric('loss', 0.5)",
        "log_param('epochs', 3)",
        "set_tag('stage', {'a': 1})",
    ]
    assert not trackyard.Client().get_run(run.id).artifacts


def test_what_cannot_be_logged_is_named_once(project, caplog):
    with start_run(experiment_tracker=None) as run:
        for _ in range(3):
            run.log_metric("accuracy", "high")
            run.log_metrics({"loss": None})
            run.log_params(5)

    assert [record.message for record in caplog.records] == [
        "metric 'accuracy' was not logged: high is no number",
        "metric 'loss' was not logged: None is no number",
        "log_params: 5 is no dict of keys and values; nothing was logged",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_warnings_come_to_an_end(journal_only, caplog):
    for number in range(500):
        journal_only.log_metric(f"metric {number}", "high")

    assert len(caplog.records) <= 100


# Switched off


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_disabled_tracking_calls_no_tracker_and_writes_no_file(local, monkeypatch, value):
    monkeypatch.setenv("TRACKYARD_DISABLE", value)
    with start_run() as run:
        run.log_metric("a", 1)
        run.set_tag("a", 1)
        run.log_text("text", "a.txt")
        assert current_run() is run
        assert run.native_run("local") is None

    assert sorted(path.name for path in local.root.iterdir()) == ["trackyard.toml"]


@pytest.mark.parametrize("value", ["", "0"])
def test_tracking_is_not_disabled_by_nothing(local, monkeypatch, value):
    monkeypatch.setenv("TRACKYARD_DISABLE", value)
    with start_run():
        pass

    assert local.hooks() == ["start", "end"]


# Ranks


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"])
def test_rank_other_than_zero_tracks_nothing_unless_it_is_told_to(local, monkeypatch, variable):
    local.add_tracker("every", Recorder, rank="all")
    monkeypatch.setenv(variable, "1")
    with start_run() as run:
        run.log_metric("a", 1)

    assert local.hooks("local") == []
    assert local.hooks("every") == ["start", "log", "end"]


@pytest.mark.parametrize("rank", ["0", "", "none", "-1"])
def test_rank_zero_tracks(local, monkeypatch, rank):
    monkeypatch.setenv("RANK", rank)
    with start_run():
        pass

    assert local.hooks() == ["start", "end"]


def test_logging_folder_is_private(local):
    with start_run() as run:
        run.log_text("text", "a.txt")
    files = [path for path in (local.root / ".trackyard").rglob("*") if path.is_file()]

    assert files
    assert all(path.parent.stat().st_mode & 0o077 == 0 for path in files)
