"""Whatever a plugin does in a hook, the step stays what it is, and its neighbours get all."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from evidence import wait_until
from matrices import first_by_default

from trackyard import NoActiveRunError, current_run, start_run
from trackyard.delivery import breaker

HOOKS = ["start", "url", "activate", "log", "end"]
SHORT = {"start_timeout": 0.4, "flush_timeout": 0.4}
# What a step may take longer than its budgets on a machine that is busy.
SLACK = 25.0


@pytest.fixture(autouse=True)
def _no_breakers_of_other_tests(monkeypatch):
    monkeypatch.setattr(breaker, "_breakers", {})


@contextmanager
def safe(seconds=1.0):
    """A step that gives what it gives, in its time, and its exception as it is."""
    begun = time.monotonic()
    with start_run("safe", experiment_tracker=["bad", "good"]) as run:
        run.log_metric("loss", 0.5, step=1)
        yield run
        run.log_metric("loss", 0.25, step=2)
    assert time.monotonic() - begun < seconds + SLACK


def add(faults, hook, way, *, flavor="misbehaving:Misbehaving", **fields):
    settings = {"isolation": "thread", **SHORT, **fields}
    more = {"hook": hook, "way": way} if flavor.endswith(":Misbehaving") else {}
    folder = faults.add_tracker("bad", flavor=flavor, **more, **settings)
    faults.add_tracker("good", isolation="thread")
    return folder


def good_has_everything(faults, status="finished"):
    assert faults.values("loss", "good") == [0.5, 0.25]
    assert faults.statuses("good") == [status]
    assert faults.ends("good") == [1]


def make_sound(faults):
    """Take the harm out of the tracker that the run describes, and of the one that is configured.

    What was changed bears no stamp any more, and goes to what is configured when sync is typed.
    """
    configuration = faults.root / "trackyard.toml"
    text = configuration.read_text()
    for field in ("way", "hook"):
        text = text.replace(f"{field} = '", f"{field} = 'no ")
    configuration.write_text(text)
    for folder in faults.run_folders():
        description = folder / "run.json"
        text = description.read_text()
        for field in ("way", "hook"):
            text = text.replace(f'"{field}": "', f'"{field}": "no ')
        description.write_text(text)


@pytest.mark.slow
def test_g1_flavors_that_cannot_be_imported_are_named_and_the_others_work(faults):
    site = faults.root / "site"
    modules = {
        "raising": "raise RuntimeError('at import')",
        "missing": "import nothing_of_that_name",
        "ending": "raise SystemExit(3)",
        "empty": "",
    }
    for name, text in modules.items():
        info = site / f"trackyard_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: trackyard-{name}\nVersion: 1")
        (info / "entry_points.txt").write_text(f"[trackyard.flavors]\n{name} = {name}:Flavor\n")
    faults.add_tracker("good", isolation="thread")
    paths = os.pathsep.join([str(site), str(Path(__file__).parent / "modules")])
    listed = faults.trackyard("plugins", PYTHONPATH=paths)
    program = "from trackyard import start_run\nwith start_run() as run: run.log_metric('loss', 1)"
    done = faults.python(program, PYTHONPATH=paths)
    named = {}
    for name in modules:
        (faults.root / "trackyard.toml").write_text(f"[experiment_trackers.x]\nflavor = '{name}'")
        named[name] = faults.python(program, PYTHONPATH=paths)

    assert all(name in listed.stdout for name in modules)
    assert "Traceback" not in listed.stderr
    assert (done.returncode, faults.values("loss", "good")) == (0, [1.0])
    for name, process in named.items():
        assert process.returncode == 1
        assert f"trackyard-{name}" in process.stderr.splitlines()[-1]


@pytest.mark.parametrize("hook", HOOKS)
def test_g2_a_hook_raises(faults, hook, caplog):
    add(faults, hook, "exception")
    with safe():
        pass

    good_has_everything(faults)
    assert caplog.text.count("Traceback") == 0
    make_sound(faults)
    faults.trackyard("sync")
    assert faults.statuses("bad") == ["finished"]


def test_g2_the_hook_for_failures_raises(faults):
    add(faults, "fail", "exception")
    with pytest.raises(LookupError, match="own"), safe():
        raise LookupError("own")
    make_sound(faults)
    faults.trackyard("sync")

    assert faults.statuses("good") == faults.statuses("bad") == ["failed"]


@pytest.mark.parametrize("way", ["BaseException", "SystemExit", "GeneratorExit", "odd exception"])
@pytest.mark.parametrize("hook", HOOKS)
def test_g3_a_hook_raises_what_no_code_catches(faults, hook, way):
    folder = add(faults, hook, way)
    with safe():
        pass

    good_has_everything(faults)
    assert (folder / f"harm-{hook}").exists()


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook != "activate"])
def test_g3_an_interrupt_that_a_plugin_makes_up_is_no_interrupt(faults, hook):
    folder = add(faults, hook, "KeyboardInterrupt")
    with safe():
        pass

    good_has_everything(faults)
    assert (folder / f"harm-{hook}").exists()


def test_g3_a_real_interrupt_comes_through(faults):
    add(faults, "log", "exception")

    def interrupt():
        with safe():
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupt()

    assert faults.statuses("good") == ["killed"]


@pytest.mark.parametrize("hook", ["start", "url", "log", "end"])
def test_g4_a_hook_hangs_in_a_thread(faults, hook):
    folder = add(faults, hook, "sleep", hook_timeout=0.2)
    with safe(1.6):
        wait_until(lambda: hook == "end" or (folder / f"harm-{hook}").exists())

    good_has_everything(faults)


@pytest.mark.slow
@pytest.mark.parametrize("hook", first_by_default(["log", "end", "start", "url"], 2))
def test_g4_a_hook_never_gives_up_the_processor(faults, hook):
    """Its worker process is killed at twice its `hook_timeout`, and started again."""
    limits = {"hook_timeout": 0.3, "flush_timeout": 30}
    folder = add(faults, hook, "spin", isolation="process", times=1, **limits)
    with safe(60):
        wait_until(lambda: hook == "end" or (folder / f"harm-{hook}").exists())

    good_has_everything(faults)
    wait_until((folder / f"harm-{hook}").exists)
    wait_until(lambda: faults.statuses("bad") == ["finished"])
    assert faults.values("loss", "bad") == [0.5, 0.25]


@pytest.mark.parametrize("way", first_by_default(["segfault", "exit"]))
@pytest.mark.parametrize("hook", ["start", "url", "log", "end"])
def test_g5_a_hook_ends_its_process(faults, hook, way):
    add(faults, hook, way, isolation="process", times=1, flush_timeout=30)
    with safe(60):
        pass

    good_has_everything(faults)
    wait_until(lambda: faults.statuses("bad") == ["finished"])
    assert faults.values("loss", "bad") == [0.5, 0.25]


@pytest.mark.parametrize("way", ["text", "huge", "unpicklable"])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_g6_a_hook_returns_what_it_should_not(faults, hook, way, isolation):
    if isolation == "process" and hook not in ("start", "url"):
        pytest.skip("what other hooks return goes nowhere, and a process takes a second")
    add(faults, hook, way, isolation=isolation, flush_timeout=30)
    with safe(60):
        pass

    good_has_everything(faults)
    wait_until(lambda: faults.statuses("bad") == ["finished"])
    assert faults.values("loss", "bad") == [0.5, 0.25]


def test_g7_a_hook_changes_what_it_is_given(faults):
    add(faults, "", "", flavor="misbehaving:Spoiling")
    with safe() as run:
        run.log_param("rate", 0.1)
        run.set_tag("note", "mine")

    good_has_everything(faults)
    assert faults.values("rate", "good", kind="param") == [0.1]
    assert faults.values("note", "good", kind="tag") == ["mine"]


@pytest.mark.parametrize("hook", ["start", "log", "end"])
def test_g8_a_hook_logs_into_the_run_that_it_serves(faults, hook):
    add(faults, hook, "recursion")
    with safe():
        time.sleep(0.5)  # in which records that make records would make more

    good_has_everything(faults)
    assert faults.journaled("from inside") == []


def test_g8_code_of_the_users_in_a_thread_still_finds_its_run(faults):
    found = []
    faults.add_tracker("good", isolation="thread")
    with start_run("safe") as run:
        thread = threading.Thread(target=lambda: found.append(current_run()))
        thread.start()
        thread.join()
        assert found == [run]
    with pytest.raises(NoActiveRunError):
        current_run()


def test_g9_what_a_plugin_leaves_behind_stays_in_its_process(faults):
    add(faults, "log", "leave", isolation="process", flush_timeout=30)
    before = Path.cwd(), dict(os.environ), signal.getsignal(signal.SIGTERM)
    with safe(60):
        pass

    assert (Path.cwd(), dict(os.environ), signal.getsignal(signal.SIGTERM)) == before
    good_has_everything(faults)
    wait_until(lambda: faults.statuses("bad") == ["finished"])
    assert faults.values("loss", "bad") == [0.5, 0.25]


def test_g10_two_distributions_with_one_flavor_name_are_both_named(faults):
    site = faults.root / "site"
    for name in ("first", "second"):
        info = site / f"trackyard_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: trackyard-{name}\nVersion: 1")
        (info / "entry_points.txt").write_text("[trackyard.flavors]\nsame = ledger:Ledger\n")
    (faults.root / "trackyard.toml").write_text(
        "[experiment_trackers.x]\nflavor = 'same'\ndatabase = 'x.db'\n"
    )
    paths = os.pathsep.join([str(site), str(Path(__file__).parent / "modules")])
    done = faults.python(
        "from trackyard import start_run\nstart_run().__enter__()", PYTHONPATH=paths
    )

    assert done.returncode == 1
    assert "trackyard-first" in done.stderr.splitlines()[-1]
    assert "trackyard-second" in done.stderr.splitlines()[-1]
