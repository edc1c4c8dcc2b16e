"""Do steps that run side by side, in processes, keep every promise?"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from isolated import Shared
from matrices import first_by_default
from ranked import log_from
from recorder import Recorder

import trackyard
from trackyard import Client, ConfigError, PipelineError, log_metric, pipeline, step
from trackyard.journal.descriptions import load_description
from trackyard.runs.health import health_of

STACK = """
[stacks.default]
experiment_trackers = ["local"]
orchestrator = "process"
max_workers = {workers}

"""


@pytest.fixture
def side_by_side(project, monkeypatch):
    """Make a project whose steps run in two processes and are tracked by one of the driver's."""
    monkeypatch.setenv("PYTHONPATH", project.environment()["PYTHONPATH"])
    project.configure(STACK.format(workers=2))
    project.add_tracker("local", Shared)
    return project


@step(experiment_tracker=True)
def work(number: int) -> int:
    log_metric("number", number, step=number)
    return os.getpid()


@step
def gather(values: list) -> list:
    return sorted(set(values))


def statuses():
    return {name: s.status for name, s in Client().list_pipeline_runs()[0].steps.items()}


def test_steps_run_in_two_processes_that_are_reused(side_by_side):
    @pipeline
    def mapped():
        gather(work.map(range(12)))

    run = mapped()

    processes = run.steps["gather"].outputs["output"].load()
    assert 1 <= len(processes) <= 2
    assert os.getpid() not in processes
    assert run.status == "finished"
    assert list(run.steps)[:2] == ["work[0]", "work[1]"]
    assert run.steps["work[7]"].metrics == {"number": 7}
    assert sorted(side_by_side.logged("metrics")) == [["number", n, n] for n in range(12)]
    assert len(side_by_side.calls("start")) == len(side_by_side.calls("end")) == 12


def test_killed_process_is_a_crashed_step_and_the_others_go_on(side_by_side):
    @step(experiment_tracker=True)
    def victim():
        log_metric("last", 1.0)
        os.kill(os.getpid(), signal.SIGKILL)

    @pipeline
    def deadly():
        victim()
        gather(work.map([1, 2, 3]))

    with pytest.raises(trackyard.StepCrashedError, match="ended by SIGKILL"):
        deadly()

    run = Client().list_pipeline_runs()[0]
    assert run.status == "crashed"
    assert statuses() == {"victim": "crashed", "gather": "finished"} | {
        f"work[{n}]": "finished" for n in range(3)
    }
    (failed,) = side_by_side.calls("fail")
    assert (failed["step"], failed["failure"]["status"]) == ("victim", "crashed")
    assert ["last", 1.0, None] in side_by_side.logged("metrics")


def test_what_a_process_cannot_write_is_counted(side_by_side):
    @step(experiment_tracker=True)
    def crowded():
        held = []
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        log_metric("number", 1.0)
        for file in held:
            os.close(file)

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = [int(path.name) for path in Path("/proc/self/fd").iterdir()]  # by other tests, too
    most = max(opened) + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        run = pipeline(crowded)()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert run.steps["crowded"].status == "finished"
    assert lost(run.steps["crowded"].id) == [1]


ELSEWHERE = """
import attrs
from contextlib import nullcontext
from pathlib import Path
from trackyard.contract import run_packed

@attrs.define(kw_only=True)
class Elsewhere:
    folder: str
    places: int = attrs.field(init=False, default=1)
    is_elsewhere: bool = attrs.field(init=False, default=True)

    def run(self, job):
        return job.unpack(run_packed(job.pack(), lambda: nullcontext(Path(self.folder))))

    def stop(self): ...
    def close(self): ...
"""


def test_what_another_orchestrators_machine_cannot_write_is_counted(side_by_side, install):
    install("acme", {"acme": ELSEWHERE}, orchestrators={"elsewhere": "acme:Elsewhere"})
    stack = STACK.replace("process", "elsewhere").replace("max_workers = {workers}", "")
    side_by_side.configure(stack + 'folder = "/dev/null/run"\n')
    side_by_side.add_tracker("local", Shared)

    run = pipeline(work)(3)

    assert run.steps["work"].status == "finished"
    assert run.steps["work"].metrics == {"number": 3}
    assert lost(run.steps["work"].id) == [1]
    assert side_by_side.logged("metrics") == []


def test_orchestrator_without_its_parts_is_refused(side_by_side, install):
    install("acme", {"acme": "class Half:\n    places = 1"}, orchestrators={"half": "acme:Half"})
    side_by_side.configure("[stacks.default]\norchestrator = 'half'\n")

    with pytest.raises(ConfigError, match=r"acme.Half has no is_elsewhere, run, stop, close; an"):
        pipeline(lambda: gather([1]))()


def test_orchestrator_that_gives_no_outcome_fails_the_step(side_by_side, install):
    odd = ELSEWHERE.replace("return job.unpack", "return str")
    install("acme", {"acme": odd}, orchestrators={"odd": "acme:Elsewhere"})
    side_by_side.configure("[stacks.default]\norchestrator = 'odd'\nfolder = 'run'\n")

    with pytest.raises(trackyard.PluginError, match="in place of the step's Outcome"):
        pipeline(lambda: gather([1]))()

    assert statuses() == {"gather": "failed"}


def test_crash_that_an_orchestrator_returns_is_one_that_it_raises(side_by_side, install):
    text = ELSEWHERE.replace("import run_packed", "import Outcome, StepCrashedError")
    body = "return job.unpack(run_packed(job.pack(), lambda: nullcontext(Path(self.folder))))"
    crash = "StepCrashedError('no machine', 3)"
    ways = {"returns": f"return Outcome(error={crash})", "raises": f"raise {crash}"}
    install(
        "acme",
        {name: text.replace(body, way) for name, way in ways.items()},
        orchestrators={name: f"{name}:Elsewhere" for name in ways},
    )
    tracked = "[stacks.default]\nexperiment_trackers = ['local']\n"
    seen = []
    for name in ways:
        side_by_side.configure(f"{tracked}orchestrator = '{name}'\nfolder = 'run'\n")
        side_by_side.add_tracker("local", Shared)
        with pytest.raises(trackyard.StepCrashedError, match="step 'work': no machine"):
            pipeline(work)(3)
        seen.append((statuses(), lost(Client().list_pipeline_runs()[0].steps["work"].id)))

    assert seen == [({"work": "crashed"}, [3])] * 2


def test_failure_without_an_error_is_not_taken_for_success(side_by_side, install):
    odd = ELSEWHERE.replace(
        "return job.unpack", "return Outcome(failure=Failure('failed', 'E')) or"
    )
    odd = odd.replace("import run_packed", "import Failure, Outcome, run_packed")
    install("acme", {"acme": odd}, orchestrators={"odd": "acme:Elsewhere"})
    side_by_side.configure("[stacks.default]\norchestrator = 'odd'\nfolder = 'run'\n")

    with pytest.raises(trackyard.PluginError, match="a failure without its error"):
        pipeline(lambda: gather([1]))()

    assert statuses() == {"gather": "failed"}


def lost(run_id):
    folder = trackyard.home() / "runs" / run_id
    return [health.lost for health in health_of(folder, load_description(folder))]


def test_what_a_step_raises_is_raised_with_its_traceback(side_by_side):
    class OddError(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")
            self.one, self.lock, self.inner = one, threading.Lock(), ExceptionGroup("in", [self])

    @step(experiment_tracker=True)
    def failing():
        raise ValueError("odd")

    @step
    def odd():
        raise OddError("salt", "pepper")

    with pytest.raises(ValueError, match="odd") as caught:
        pipeline(failing)()
    assert "in failing" in str(caught.value.__cause__)
    assert side_by_side.calls("fail")[0]["failure"]["kind"] == "ValueError"
    with pytest.raises(OddError, match="salt and pepper") as caught:
        pipeline(odd)()
    assert caught.value.one == "salt"
    assert "lock" in caught.value.lock


@pytest.mark.slow
def test_output_keeps_its_name_where_annotations_are_texts(side_by_side, monkeypatch):
    code = (
        "from __future__ import annotations\n"
        "from typing import Annotated\n"
        "import trackyard\n"
        "class OwnError(Exception):\n"
        "    def __init__(self, code, *, text):\n"
        "        super().__init__(f'{code}: {text}')\n"
        "        self.code = code\n"
        "@trackyard.step\n"
        "def fit(fails: bool) -> Annotated[int, 'model']:\n"
        "    if fails: raise OwnError(5, text='x')\n"
        "    return 3\n"
        "@trackyard.step\n"
        "def show(model: int) -> int: return model + 1\n"
        "@trackyard.pipeline\n"
        "def fitting(fails: bool = False): show(fit(fails))\n"
        "if __name__ == '__main__':\n"
        "    steps = fitting().steps\n"
        "    print(list(steps['fit'].outputs), steps['show'].outputs['output'].load())\n"
        "    try: fitting(fails=True)\n"
        "    except OwnError as error: print(error.code, error)\n"
    )
    Path("script.py").write_text(code)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["['model'] 4", "5 5: x"]


def test_native_calls_are_activated_where_the_step_runs(side_by_side):
    @step(experiment_tracker=True)
    def native() -> str:
        return str(trackyard.native_run("local")) + str(trackyard.current_run().url)

    run = pipeline(native)()

    found = run.steps["native"]
    assert found.outputs["output"].load() == f"native native{found.url}"


@pytest.mark.slow
def test_children_of_a_step_log_into_its_run(side_by_side):
    @step(experiment_tracker=True)
    def parent():
        code = "import trackyard; trackyard.log_metric('child', 1.0)"
        subprocess.run([sys.executable, "-c", code], check=True)

    pipeline(parent)()

    assert side_by_side.logged("metrics") == [["child", 1.0, None]]


@pytest.mark.parametrize("rank", first_by_default(["zero", "all"]))
def test_ranks_of_a_step_log_into_its_one_run(side_by_side, rank):
    side_by_side.configure(STACK.format(workers=1))
    side_by_side.add_tracker("local", Shared, rank=rank)

    @step(experiment_tracker=True)
    def train():
        context = multiprocessing.get_context("spawn")
        children = [context.Process(target=log_from, args=(number,)) for number in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join(60)

    pipeline(train)()

    others = [["rank1/loss", 1.0, 1], ["rank2/loss", 2.0, 1]] if rank == "all" else []
    assert sorted(side_by_side.logged("metrics")) == [["loss", 0.0, 1], *others]
    assert len(side_by_side.calls("start")) == len(side_by_side.calls("end")) == 1


def test_untracked_step_keeps_what_it_logs(side_by_side):
    @step
    def quiet():
        log_metric("a", 2.0)

    run = pipeline(quiet)()

    assert run.steps["quiet"].metrics == {"a": 2.0}
    assert not side_by_side.calls()


def test_step_that_takes_too_long_is_ended(side_by_side):
    @step(experiment_tracker=True, timeout=0.2)
    def slow():
        time.sleep(60)

    with pytest.raises(trackyard.StepTimeoutError):
        pipeline(slow)()

    assert statuses() == {"slow": "failed"}


@pytest.mark.slow
def test_crashed_attempt_is_tried_again(side_by_side):
    @step(experiment_tracker=True, retries=1, retry_delay=0)
    def flaky() -> int:
        if not Path("tried").exists():
            Path("tried").touch()
            os._exit(3)
        return 1

    run = pipeline(flaky)()

    first, second = run.steps["flaky"].attempts
    assert (first.status, second.status) == ("crashed", "finished")
    assert "exit code 3" in first.error


def test_step_begins_where_the_driver_does_wherever_another_went(side_by_side):
    side_by_side.configure(STACK.format(workers=1))

    @step
    def go() -> str:
        os.chdir("/")
        return str(Path.cwd())

    @step(after="go")
    def look() -> str:
        return str(Path.cwd())

    @pipeline
    def moving():
        go()
        look()

    run = moving()

    assert run.steps["go"].outputs["output"].load() == "/"
    assert run.steps["look"].outputs["output"].load() == str(side_by_side.root)


DEAF = """
import pathlib, subprocess, sys, time, trackyard
@trackyard.step(experiment_tracker=True)
def deaf(n: int):
    trackyard.log_metric("n", n)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    pathlib.Path(f"up{n}.part").write_text(str(child.pid))
    pathlib.Path(f"up{n}.part").rename(f"up{n}")
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pathlib.Path(f"told{n}").touch()
@trackyard.pipeline
def waiting():
    deaf.map([0, 1])
if __name__ == "__main__": waiting()
"""


@pytest.mark.slow
def test_second_ctrl_c_kills_at_once_what_steps_have_started_too(side_by_side):
    (side_by_side.root / "driver.py").write_text(DEAF)
    driver = subprocess.Popen(
        [sys.executable, "driver.py"],
        cwd=side_by_side.root,
        env=side_by_side.environment(),
        stderr=subprocess.DEVNULL,
    )
    ups, told = [Path("up0"), Path("up1")], [Path("told0"), Path("told1")]
    try:
        wait_until(lambda: all(up.exists() for up in ups))
        driver.send_signal(signal.SIGINT)
        wait_until(lambda: all(path.exists() for path in told))
        began = time.monotonic()
        driver.send_signal(signal.SIGINT)
        driver.wait(60)
    finally:
        driver.kill()
        driver.wait()

    assert driver.returncode == -signal.SIGINT
    assert time.monotonic() - began < 4.5  # without, they have 5 s to end
    assert statuses() == {"deaf[0]": "killed", "deaf[1]": "killed"}
    for up in ups:
        wait_until(lambda up=up: not is_running(int(up.read_text())))


def wait_until(is_so):
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(process):
    """Tell whether a process lives: one whose parent has died is a zombie until it is found."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", ["raise ValueError", "return 7", "sys.exit(3)"])
def test_forked_child_that_leaves_its_step_ends_nothing(project, how):
    project.add_tracker("local", Shared)
    module = f"""
import os, sys
from trackyard import log_metric, pipeline, step
@step(experiment_tracker=True)
def forking() -> int:
    child = os.fork()
    if child == 0:
        log_metric("child", 1)
        {how}
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    log_metric("own", 2)
    return code
@pipeline
def dividing(): forking()
print(dividing().steps["forking"].outputs["output"].load())
"""
    came = project.python(module)

    assert came.stdout == {"raise ValueError": "1\n", "return 7": "0\n"}.get(how, "3\n")
    assert ("ValueError" in came.stderr) == ("ValueError" in how)
    assert statuses() == {"forking": "finished"}
    assert len(project.calls("end")) == len(project.calls("start"))
    assert project.calls("fail") == []
    assert sorted(metric[0] for metric in project.logged("metrics")) == ["child", "own"]


@pytest.mark.parametrize("how", ["raise ValueError", "pass"])
def test_forked_child_that_leaves_a_block_ends_nothing(project, how):
    project.configure("[stacks.default]\nexperiment_trackers = ['local']\n\n")
    project.add_tracker("local", Shared)
    came = project.python(f"""
import os, trackyard
with trackyard.tracked_step(pipeline="etl", step="train", run="1"):
    child = os.fork()
    if child == 0:
        trackyard.log_metric("child", 1)
        {how}
    else:
        print("waited", os.waitpid(child, 0)[1], flush=True)
        trackyard.log_metric("own", 2)
if child == 0:
    print("went on", flush=True)
""")

    code = 256 if "raise" in how else 0
    assert f"waited {code}\n" in came.stdout
    assert ("went on" in came.stdout) == (code == 0)
    assert statuses() == {"train": "finished"}
    assert len(project.calls("end")) == 1
    assert project.calls("fail") == []
    assert sorted(metric[0] for metric in project.logged("metrics")) == ["child", "own"]


@pytest.mark.parametrize("number", first_by_default([signal.SIGTERM, signal.SIGINT]))
def test_stopping_the_driver_kills_its_steps(side_by_side, number):
    (side_by_side.root / "driver.py").write_text(
        "import time, pathlib, trackyard, os\n"
        "@trackyard.step(experiment_tracker=True)\n"
        "def wait(n: int):\n"
        "    trackyard.log_metric('n', n)\n"
        "    pathlib.Path(f'up{n}').write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "@trackyard.pipeline\n"
        "def waiting():\n"
        "    wait.map([0, 1, 2])\n"
        "if __name__ == '__main__': waiting()\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "driver.py"],
        cwd=side_by_side.root,
        env=side_by_side.environment(),
        stderr=subprocess.PIPE,
    )
    ups = [side_by_side.root / "up0", side_by_side.root / "up1"]
    deadline = time.monotonic() + 30
    while not all(up.exists() and up.read_text() for up in ups):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(number)
    driver.communicate(timeout=30)
    assert driver.returncode == (143 if number == signal.SIGTERM else -number)

    assert Client().list_pipeline_runs()[0].status == "killed"
    assert statuses() == {"wait[0]": "killed", "wait[1]": "killed", "wait[2]": "skipped"}
    assert [c["failure"]["status"] for c in side_by_side.calls("fail")] == ["killed"] * 2
    for up in ups:
        with pytest.raises(ProcessLookupError):
            os.kill(int(up.read_text()), 0)


@pytest.mark.slow
def test_list_of_another_step_is_mapped_when_it_is_there(side_by_side):
    @step
    def numbers(most: int) -> list:
        return list(range(most))

    @step(experiment_tracker=True)
    def add(number: int, more: int) -> int:
        return number + more

    @step
    def total(values: list) -> int:
        return sum(values)

    @pipeline
    def dynamic(most: int):
        total(add.map(add.map(numbers(most), more=1), more=10))

    run = dynamic(3)

    assert run.steps["total"].outputs["output"].load() == 36
    assert list(run.steps) == [
        "numbers", "add[0]", "add[1]", "add[2]", "add_2[0]", "add_2[1]", "add_2[2]", "total",
    ]  # fmt: skip
    assert dynamic(0).steps["total"].outputs["output"].load() == 0


def test_what_cannot_work_is_said_before_anything_runs(side_by_side):
    side_by_side.configure(STACK.format(workers=0))
    with pytest.raises(ConfigError, match="max_workers: must be 1 or more, not 0"):
        pipeline(lambda: gather([]))()
    side_by_side.configure('[stacks.default]\norchestrator = "process"\nmax_worker = 2\n')
    with pytest.raises(ConfigError, match="did you mean 'max_workers'"):
        pipeline(lambda: gather([]))()
    side_by_side.configure(
        '[stacks.default]\norchestrator = "process"\nartifact_store = "memory://a"\n'
    )
    with pytest.raises(ConfigError, match="seen by this process alone"):
        pipeline(lambda: gather([]))()


def test_argument_that_cannot_travel_is_said(side_by_side):
    import threading

    @step
    def locked(lock):
        pass

    with pytest.raises(PipelineError, match="cannot be moved to another process"):
        pipeline(lambda: locked(threading.Lock()))()


def test_tracker_of_one_process_gets_the_portable_calls_and_says_so(project, monkeypatch, caplog):
    monkeypatch.setenv("PYTHONPATH", project.environment()["PYTHONPATH"])
    project.configure(STACK.format(workers=1))
    project.add_tracker("local", Recorder)

    pipeline(lambda: work(3))()

    assert project.logged("metrics") == [["number", 3, 3]]
    assert "not what its SDK's own calls log" in caplog.text


@step(experiment_tracker=True)
def printing(number: int) -> None:
    print("printed", number)
    os.write(2, f"by the system {number}\n".encode())  # as a library of C does
    subprocess.run(["echo", f"by a child {number}"], check=True)
    if number == 1:
        print("the last word", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


def test_all_that_the_processes_print_is_kept_by_their_steps(side_by_side):
    side_by_side.configure(
        side_by_side.file.read_text().replace("max_workers = 2", "max_workers = 1")
    )

    @pipeline
    def talking():
        printing.with_options(name="first")(0)
        printing.with_options(name="second", after="first")(1)

    with pytest.raises(trackyard.StepCrashedError):
        talking()

    view = Client().get_run(Client().list_pipeline_runs()[0].name)
    printed = {s.name: sorted((line.stream, line.text) for line in s.console) for s in view.steps}
    assert printed["first"] == [
        ("err", "by the system 0"), ("out", "by a child 0"), ("out", "printed 0"),
    ]  # fmt: skip
    assert ("out", "the last word") in printed["second"]
    assert ("err", "by the system 1") in printed["second"]
    assert view.artifacts["second/console.log"].read_text().count("\n") == 4
