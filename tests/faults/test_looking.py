"""Looking is safe: what a folder from elsewhere says chooses no class, no secret and no address."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from evidence import wait_until
from looking import recording_server
from matrices import first_by_default

from trackyard import Client
from trackyard.contract.errors import OutputError
from trackyard.recovery.drivers import find_dead_drivers
from trackyard.recovery.finishing import recover_in_background, sync_all
from trackyard.recovery.trusting import is_own
from trackyard.runs.exporting import export_text
from trackyard.runs.folders import find_runs
from trackyard.system.stamps import is_stamped

# `python -m trackyard` has the working directory first on its path, which is Python's own doing.
PROGRAM = str(Path(sys.executable).with_name("trackyard"))
SECRET = "canary-7c1d-of-the-environment"
CANARY = "from pathlib import Path\nPath({place!r}).write_text('executed')\n"
CRASHED = """
import os
from trackyard import start_run
with start_run("crashed") as run:
    run.log_metric("loss", 1)
    os._exit(1)
"""


@pytest.fixture(autouse=True)
def _own_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MY_CLOUD_SECRET", SECRET)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    with recording_server() as recording:
        yield recording


def crash(faults, **env: str) -> Path:
    """Leave a run behind whose process died; give its folder."""
    before = {*faults.run_folders()}
    assert faults.python(CRASHED, **env).returncode == 1
    (folder,) = {*faults.run_folders()} - before
    return folder


def tables_of(address: str) -> dict[str, dict[str, str]]:
    """Give what a hostile run.json says of its trackers."""
    return {
        "mlflow": {
            "flavor": "mlflow",
            "tracking_uri": address,
            "tracking_token": "env:MY_CLOUD_SECRET",
        },
        "notes": {"flavor": "notes:Tracker"},
        "local": {"flavor": "ledger:Ledger", "database": "/tmp/elsewhere.db"},
    }


def be_hostile(faults, address: str) -> Path:
    """Make a folder that somebody mailed: a crashed run, and code that waits to be imported."""
    faults.add_tracker(isolation="thread", start_timeout=0, flush_timeout=0)
    folder = crash(faults)
    (faults.root / "trackyard.toml").unlink()
    (faults.root / "config").mkdir()
    shutil.rmtree(faults.root.parent / "config")
    described = json.loads((folder / "run.json").read_text())
    described["trackers"] = [
        {"name": name, "folder": name, "table": table, "place": "x"}
        for name, table in tables_of(address).items()
    ]
    (folder / "run.json").write_text(json.dumps(described))
    for name in ("notes", "ledger", "logging", "json"):
        text = CANARY.format(place=str(faults.root / "executed"))
        (faults.root / f"{name}.py").write_text(text)
    return folder


def test_t1_a_folder_from_elsewhere_delivers_nothing_when_it_is_looked_at(faults, server):
    address, seen = server
    folder = be_hostile(faults, address)
    for words in (
        ("runs", "list"),
        ("runs", "show", "crashed"),
        ("runs", "export", "crashed", "--format", "csv"),
        ("doctor",),
        ("sync",),
        ("runs", "verify", "crashed"),
        ("replay", "crashed", "--to", "mlflow", "--plan"),
    ):
        faults.command(PROGRAM, *words, TRACKYARD_WATCHDOG="1", PYTHONPATH="")

    assert not (faults.home / "recovery.stamp").exists()
    assert seen == []
    assert not (faults.root / "executed").exists()
    assert not (folder / "notes").exists()


def test_t1_a_sync_that_is_typed_lists_it_first_and_names_what_is_not_configured(faults, server):
    address, seen = server
    folder = be_hostile(faults, address)
    (faults.root / "trackyard.toml").write_text('[experiment_trackers.other]\nflavor = "mlflow"\n')
    typed = faults.command(PROGRAM, "sync", "--json", PYTHONPATH="")

    assert typed.returncode == 1
    assert f"crashed {folder.name} to mlflow, notes, local" in typed.stderr
    problems = {row["tracker"]: row["problem"] for row in json.loads(typed.stdout)}
    assert all(problem.startswith("not configured here: ") for problem in problems.values())
    assert f"trackyard replay {folder.name} --to other" in problems["notes"]
    assert seen == []
    assert not (faults.root / "executed").exists()


@pytest.mark.slow
def test_t1_what_is_configured_takes_it_when_sync_is_typed(faults):
    backend = faults.add_tracker(isolation="thread", start_timeout=0, flush_timeout=0)
    (backend / "down").touch()
    crash(faults)
    (backend / "down").unlink()
    shutil.rmtree(faults.root.parent / "config")  # a pod has a new home folder
    recover_in_background(faults.project)
    sync_all(faults.project, patience=5)
    assert faults.statuses() == []

    typed = faults.trackyard("sync")
    assert (typed.returncode, faults.statuses()) == (0, ["crashed"]), typed.stderr
    assert faults.values("loss") == [1]


@pytest.mark.slow
def test_t1_a_field_that_differs_is_named_and_replay_sends_to_what_is_configured(faults):
    backend = faults.add_tracker("local", "comparing:Comparing", isolation="thread", place="there")
    (faults.root / "comparing.py").write_text(
        "import attrs\nfrom ledger import Ledger\nfrom trackyard import flavor\n"
        "@flavor\nclass Comparing(Ledger):\n    place: str = attrs.field(kw_only=True)\n"
    )
    toml = faults.root / "trackyard.toml"
    toml.write_text(toml.read_text() + f"database = '{backend / 'ledger.db'}'\n")
    paths = os.pathsep.join([faults.environment()["PYTHONPATH"], str(faults.root)])
    (backend / "down").touch()
    folder = crash(faults, PYTHONPATH=paths)
    (backend / "down").unlink()
    shutil.rmtree(faults.root.parent / "config")
    toml.write_text(toml.read_text().replace("'there'", "'here'"))
    typed = faults.trackyard("sync", "--json", PYTHONPATH=paths)

    (row,) = json.loads(typed.stdout)
    assert "with place = 'there'" in row["problem"]
    command = row["problem"].partition("type: ")[2].split()
    assert command == ["trackyard", "replay", folder.name, "--to", "local"]
    assert faults.statuses() == []
    assert faults.trackyard(*command[1:], PYTHONPATH=paths).returncode == 0
    assert faults.statuses() == ["crashed"]
    assert faults.trackyard("sync", PYTHONPATH=paths).returncode == 0


def described_anew(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    values = json.loads((folder / "run.json").read_text())
    change(values)
    (folder / "run.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    "change",
    first_by_default(
        [
            lambda values: values["trackers"][0]["table"].update(flavor="mlflow"),
            lambda values: values["trackers"][0]["table"].update(database="/tmp/x.db"),
            lambda values: values["trackers"][0].update(name="other"),
            lambda values: values["run"].update(experiment="other"),
            lambda values: values["stamps"]["local"].update(project="/"),
            lambda values: values["stamps"]["local"].update(stamp=""),
            lambda values: values["stamps"]["local"].update(stamp=None),
            lambda values: values["stamps"]["local"].update(stamp="é"),
            lambda values: values.update(stamps=[]),
            lambda values: values.update(stamps={}),
        ],
        3,
    ),
    ids=range(10),
)
def test_t2_a_description_that_was_changed_is_nobodys(faults, change):
    backend = faults.add_tracker(isolation="thread", start_timeout=0, flush_timeout=0)
    (backend / "down").touch()
    folder = crash(faults)
    (found,) = find_runs(faults.project, "crashed")
    assert is_own(found.description, faults.project)
    described_anew(folder, change)
    (backend / "down").unlink()

    assert not any(is_own(run.description, faults.project) for run in find_runs_there(faults))
    sync_all(faults.project, patience=5)
    assert faults.statuses() == []


def find_runs_there(faults) -> list:
    try:
        return find_runs(faults.project, "crashed")
    except Exception:  # what cannot be read is no run
        return []


def test_t2_the_stamp_of_one_run_is_not_that_of_another(faults):
    """Nor of the same run in another project."""
    backend = faults.add_tracker(isolation="thread", start_timeout=0, flush_timeout=0)
    (backend / "down").touch()
    folder = crash(faults)
    shutil.copytree(faults.root, faults.root.parent / "copy")
    copy = Client(faults.root.parent / "copy")._project
    (copied,) = find_runs(copy, "crashed")

    assert not is_own(copied.description, copy)
    other = folder.with_name("0" * 32)
    shutil.copytree(folder, other)
    described_anew(other, lambda values: values["run"].update(id=other.name))
    assert not any(
        is_own(run.description, faults.project) for run in find_runs(faults.project, other.name)
    )


def test_t3_processes_that_begin_at_once_make_one_key(faults, tmp_path):
    code = "from trackyard.system.stamps import stamp_of\nprint(stamp_of('a'))"
    processes = [faults.start(code) for _ in range(8)]
    stamps = {process.communicate(timeout=60)[0].strip() for process in processes}

    (stamp,) = stamps
    assert is_stamped(stamp, "a")
    assert not is_stamped(stamp, "b")
    key = tmp_path / "config" / "trackyard" / "key"
    assert {path.name for path in key.parent.iterdir()} == {"key", "key.lock"}
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_t3_a_key_that_others_can_read_is_no_key(faults, tmp_path, mode):
    code = "from trackyard.system.stamps import stamp_of\nprint(stamp_of('a'))"
    before = faults.python(code).stdout
    key = tmp_path / "config" / "trackyard" / "key"
    old = key.read_bytes()
    key.chmod(mode)

    assert faults.python(code).stdout != before
    assert key.read_bytes() != old
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_t3_without_a_key_runs_wait_for_a_sync_that_is_typed_and_say_so(faults, tmp_path):
    backend = faults.add_tracker(isolation="thread", start_timeout=0, flush_timeout=0)
    (backend / "down").touch()
    (tmp_path / "config").write_text("a file, where a folder is wanted")
    process = faults.python(CRASHED)
    (backend / "down").unlink()

    assert "config/trackyard/key cannot be made" in process.stderr
    assert "wait for: trackyard sync" in process.stderr
    sync_all(faults.project, patience=5)
    assert faults.statuses() == []
    assert faults.trackyard("sync").returncode == 0
    assert faults.statuses() == ["crashed"]


def test_t4_of_two_projects_with_one_home_each_finishes_its_own_runs(faults, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKYARD_HOME", str(tmp_path / "shared"))
    backend = faults.add_tracker(isolation="thread", start_timeout=0, flush_timeout=0)
    (backend / "down").touch()
    faults.python(CRASHED)
    (backend / "down").unlink()
    other = tmp_path / "other"
    other.mkdir()
    (other / "ledger.py").write_text(CANARY.format(place=str(tmp_path / "executed")))
    sync_all(Client(other)._project, patience=5)
    assert faults.statuses() == []

    sync_all(faults.project, patience=5)
    assert faults.statuses() == ["crashed"]
    assert not (tmp_path / "executed").exists()


def test_t5_the_mark_of_a_driver_from_elsewhere_ends_nothing_by_itself(faults):
    faults.python(
        "import os\nfrom trackyard import pipeline, step\n"
        "@step\ndef train(): os._exit(1)\n"
        "@pipeline\ndef training(): train()\n"
        "training()"
    )
    (mark,) = (faults.home / "drivers").glob("*.json")
    values = json.loads(mark.read_text())
    mark.write_text(json.dumps({**values, "owed": [["delete_pipeline_run", [mark.stem], {}]]}))
    recover_in_background(faults.project)
    sync_all(faults.project, patience=5)

    assert not (faults.home / "recovery.stamp").exists()
    (driver,) = find_dead_drivers(faults.home)
    assert driver.project is None
    assert [run.status for run in Client().list_runs()] == ["running"]


def tracked_by_own_class(root: Path, name: str = "trackers") -> None:
    """Make a project whose tracker is a class of its own, which writes who it is."""
    root.mkdir(exist_ok=True)
    (root / f"{name}.py").write_text(
        "from pathlib import Path\nfrom trackyard import flavor, hookimpl\n"
        f"@flavor\nclass Own:\n    @hookimpl\n    def tracker_start_run(self, run):\n"
        f"        Path({str(root / 'delivered')!r}).touch()\n"
    )
    (root / "trackyard.toml").write_text(
        f'[experiment_trackers.own]\nflavor = "{name}:Own"\nisolation = "process"\n'
    )


def test_t4_of_two_projects_in_one_process_none_runs_the_others_class(faults, tmp_path):
    one, other = tmp_path / "one", tmp_path / "two"
    tracked_by_own_class(one)
    tracked_by_own_class(other)
    code = """
from trackyard import Client
from trackyard.contract.errors import OutputError
for project in ("one", "two"):
    try:
        print(Client(f"../{project}").check_experiment_tracker("own").stages)
    except Exception as error:
        print(error)
"""
    said = faults.python(code).stdout.splitlines()

    assert (one / "delivered").exists()
    assert not (other / "delivered").exists()
    assert "use a process for each project" in said[-1]


@pytest.mark.slow
def test_t6_commands_that_look_import_no_class_of_the_configuration(faults, server):
    address, seen = server
    place = str(faults.root / "executed")
    (faults.root / "evil.py").write_text(CANARY.format(place=place))
    (faults.root / "trackyard.toml").write_text(
        '[experiment_trackers.a]\nflavor = "evil:Tracker"\n[experiment_trackers.b]\n'
        f'flavor = "mlflow"\ntracking_uri = "{address}"\ntracking_token = "env:MY_CLOUD_SECRET"\n'
        '[stacks.default]\norchestrator = "evil:Queue"\n'
    )
    for words in (
        ("runs", "list"),
        ("config", "show"),
        ("experiment-tracker", "list"),
        ("experiment-tracker", "describe", "a"),
        ("experiment-tracker", "flavor", "list"),
        ("stack", "list"),
        ("stack", "describe"),
        ("stack", "export"),
        ("plugins",),
        ("doctor",),
    ):
        done = faults.command(PROGRAM, *words)
        assert done.returncode == 0, (words, done.stderr)
    faults.python(
        "from trackyard import Client\nclient = Client()\n"
        "client.list_experiment_trackers(), client.get_experiment_tracker('a')\n"
        "client.list_stacks(), client.get_stack(), client.show_config(), client.list_runs()\n"
        "client.doctor(), client.list_flavors(), client.list_outputs(), client.export_stack()\n"
        "print('looked')"
    ).check_returncode()

    assert not Path(place).exists()
    assert seen == []
    assert "evil" in faults.command(PROGRAM, "doctor", "--connect").stdout
    assert Path(place).exists()


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_t7_modules_of_the_working_directory_are_none_of_the_helpers(faults, isolation):
    tracked_by_own_class(faults.root)
    toml = faults.root / "trackyard.toml"
    toml.write_text(toml.read_text().replace("process", isolation))
    place = str(faults.root / "executed")
    for name in ("logging", "json", "queue", "attrs", "pluggy", "sqlalchemy", "platformdirs"):
        (faults.root / f"{name}.py").write_text(CANARY.format(place=place))
    (faults.root / "task").mkdir()
    script = faults.root / "task" / "script.py"
    script.write_text(CRASHED)
    # What is beside the script is on the script's own path, and on that of no other process.
    trackers = faults.root / "trackers.py"
    trackers.write_text(f"import colorsys\n{trackers.read_text()}")
    canary = CANARY.format(place=place).replace(
        "\nPath", "\nimport sys\n'script' in sys.argv[0] or Path"
    )
    for folder in (faults.root, script.parent):
        (folder / "colorsys.py").write_text(canary)
    command = (sys.executable, str(script))
    done = faults.command(*command, TRACKYARD_WATCHDOG="1", PYTHONPATH="")

    assert done.returncode == 1
    state = "own/delivery.json"
    (folder,) = faults.run_folders()
    wait_until(lambda: '"is_ended": true' in (folder / state).read_text())
    assert (faults.root / "delivered").exists()
    assert not Path(place).exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_t8_everything_below_the_home_is_its_owners_alone_at_any_umask(faults, umask):
    faults.add_tracker(isolation="process")
    code = f"""
import os
os.umask({umask})
from trackyard import pipeline, start_run, step
@step(experiment_tracker=True)
def train(): return {{1, 2}}
@pipeline
def training(): train()
training()
with start_run("block") as run:
    run.log_metric("loss", 1)
    run.log_text("text", "a.txt")
"""
    faults.python(code).check_returncode()
    modes = {
        path.relative_to(faults.root): stat.S_IMODE(path.lstat().st_mode)
        for path in (faults.home, *faults.home.rglob("*"))
    }

    odd = {
        str(path): oct(mode)
        for path, mode in modes.items()
        if mode != (0o700 if (faults.root / path).is_dir() else 0o600)
    }
    assert odd == {}
    assert {"store.db", "runs", "artifacts", ".gitignore"} <= {path.name for path in modes}
    assert (faults.home / ".gitignore").read_text() == "*\n"


def test_t8_a_folder_that_was_there_before_gets_no_gitignore(faults, tmp_path, monkeypatch):
    faults.add_tracker(isolation="thread")
    home = tmp_path / "shared"
    home.mkdir()
    faults.python("import trackyard\nwith trackyard.start_run('a'): pass", TRACKYARD_HOME=str(home))
    assert (home / "runs").is_dir()
    assert not (home / ".gitignore").exists()


@pytest.mark.parametrize(
    "text",
    first_by_default(
        ["=1+1", "\t=1", "+1+1", "-1+1", "@SUM(A1)", "\r=1", " =1", '=HYPERLINK("x")'], 2
    ),
)
def test_t9_a_cell_that_a_spreadsheet_would_run_is_a_text(faults, text):
    faults.python(
        "import sys, trackyard\n"
        "with trackyard.start_run('cells', experiment_tracker=None) as run:\n"
        "    run.log_params({'p': sys.argv[1], 'n': -1.5, 'm': '-2'}); run.log_metric('x', -3)\n",
        text,
    ).check_returncode()
    exported = "".join(export_text([Client().get_run("cells")], "csv"))
    rows = list(csv.DictReader(io.StringIO(exported, newline="")))

    values = {row["key"]: row["value"] for row in rows}
    assert values == {"p": f"'{text}", "n": "-1.5", "m": "-2", "x": "-3.0"}
    assert {row["key"]: row["number"] for row in rows}["x"] == "-3.0"


@pytest.mark.slow
def test_t10_a_pickle_that_somebody_else_stored_is_loaded_by_who_trusts_it(faults, tmp_path):
    """And never by looking: it would run what it names."""
    (faults.root / "own.py").write_text(
        "from pathlib import Path\n"
        "class Odd:\n    def __reduce__(self):\n"
        f"        return (Path.write_text, (Path({str(faults.root / 'executed')!r}), 'x'))\n"
    )
    code = (
        "from own import Odd\nfrom trackyard import pipeline, step\n"
        "@step\ndef make(): return Odd()\n"
        "@pipeline\ndef making(): make()\nmaking()"
    )
    faults.python(code, PYTHONPATH=str(faults.root)).check_returncode()
    executed = faults.root / "executed"
    Client().get_output("make.output").load()  # one's own
    assert executed.exists()

    executed.unlink()
    shutil.rmtree(tmp_path / "config")
    foreign = "from trackyard import Client\nClient().get_output('make.output').load({})"
    refused = faults.python(foreign.format(""))
    assert "which runs code when it is loaded" in refused.stderr
    assert "type: .load(trust=True); for all of this store write below" in refused.stderr
    assert "[stacks.default] in trackyard.toml: artifact_store_is_trusted = true" in refused.stderr
    assert not executed.exists()
    faults.python(foreign.format("trust=True")).check_returncode()
    assert executed.exists()
    executed.unlink()
    said = "[stacks.default]\nartifact_store_is_trusted = true\n"
    (faults.root / "trackyard.toml").write_text(said)
    faults.python(foreign.format("")).check_returncode()
    assert executed.exists()


@pytest.mark.slow
def test_t11_files_of_an_embedded_store_lie_below_it_or_are_left_alone(faults, tmp_path):
    from mlflow import MlflowClient

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    faults.home.mkdir()
    client = MlflowClient(f"sqlite:///{faults.home / 'mlflow.db'}")
    client.create_experiment("fraud", elsewhere.as_uri())
    done = faults.python(
        "import trackyard\n"
        "with trackyard.start_run('a', experiment='fraud') as run:\n"
        "    run.log_text('text', 'a.txt'); run.log_metric('loss', 1)\n",
        TRACKYARD_ISOLATION="thread",
    )

    assert "1 were refused" in done.stderr
    assert [*elsewhere.rglob("*")] == []
    (run,) = client.search_runs([client.get_experiment_by_name("fraud").experiment_id])
    assert run.data.metrics == {"loss": 1.0}
    (quarantined,) = faults.home.glob("runs/*/*/quarantine.jsonl")
    assert f"keeps the run's files elsewhere, in {elsewhere.as_uri()}" in quarantined.read_text()


CHATTY = """
import faulthandler, logging, os, sys
import attrs
from trackyard import Secret, flavor, hookimpl, secret
@flavor
class Chatty:
    token: Secret = secret()
    @hookimpl
    def tracker_start_run(self, run):
        token = self.token.reveal()
        print("printed", token)
        logging.warning("logged %s", token)
        os.write(2, b"written " + token.encode() + b"\\n")
    @hookimpl
    def tracker_log(self, run, batch):
        if (run.folder / "seen").exists():
            raise ValueError(f"refused with {self.token.reveal()}")
        (run.folder / "seen").touch()
        os.write(2, b"before the end " + self.token.reveal().encode())
        faulthandler._sigsegv()
"""


def test_t12_a_worker_that_prints_its_secret_and_dies_leaves_none_in_its_log(faults, monkeypatch):
    monkeypatch.setenv("CHATTY_TOKEN", SECRET)
    (faults.root / "chatty.py").write_text(CHATTY)
    (faults.root / "trackyard.toml").write_text(
        '[experiment_trackers.chatty]\nflavor = "chatty:Chatty"\nisolation = "process"\n'
        'token = "env:CHATTY_TOKEN"\n'
    )
    log = faults.home / "workers" / "chatty.log"
    # The log of a worker begins anew when it is started again: what each has left is looked at.
    code = """
import shutil, time
from pathlib import Path
from trackyard import start_run
from trackyard.delivery.process import WorkerProcess
started = WorkerProcess._start_again
def start_again(self):
    self._log_the_rest()
    shutil.copyfile(self._log, "of_the_dead.log")
    started(self)
WorkerProcess._start_again = start_again
with start_run("a") as run:
    run.log_metric("loss", 1)
    until = time.monotonic() + 30
    while not Path("of_the_dead.log").exists() and time.monotonic() < until:
        time.sleep(0.05)
"""
    done = faults.python(code, TRACKYARD_ISOLATION="process")
    dead = (faults.root / "of_the_dead.log").read_text()

    for word in ("printed", "logged", "written", "before the end"):
        assert f"{word} ***" in dead
    assert "Segmentation fault" in dead
    assert "tracker_log" in dead
    assert "written ***" in log.read_text()
    assert SECRET not in done.stderr + dead + log.read_text()
    noted = [path for path in faults.home.rglob("*") if path.is_file()]
    assert [path for path in noted if SECRET.encode() in path.read_bytes()] == []


def tree_of(folder: Path) -> dict[str, tuple[str, float]]:
    """Give what lies in a folder, with what each file holds and when it was written."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_text(), path.stat().st_mtime) for path in found}


LINKS = {
    "a run's folder": "runs/{other}",
    "a tracker's folder": "runs/{run}/local",
    "a lock": "runs/{run}/r0-p1-0000.lock",
    "the lock of a delivery": "runs/{run}/local/delivery.lock",
    "the place of what is deleted": "deleted",
    "the place of what is collected": "collected",
    "a mark": "pending/{run}",
}


@pytest.mark.slow
@pytest.mark.parametrize("link", first_by_default(LINKS))
def test_t13_a_link_out_of_the_home_has_nothing_written_or_deleted_where_it_leads(
    faults, tmp_path, link
):
    faults.add_tracker(isolation="thread")
    for name in ("kept", "linked"):
        assert (
            faults.python(f"import trackyard\nwith trackyard.start_run({name!r}): pass").stdout
            == ""
        )
    kept, run = sorted(faults.run_folders())
    elsewhere = tmp_path / "elsewhere"
    kept.rename(elsewhere)  # a run of another project, whole and old
    (elsewhere / "note.txt").write_text('{"process": 1}')
    shutil.copy(run / "run.json", elsewhere / "run.json")
    place = faults.home / LINKS[link].format(run=run.name, other=kept.name)
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    leads = {"a lock": "note.txt", "the lock of a delivery": "new", "a mark": "new"}.get(link, "")
    place.symlink_to(elsewhere / leads)
    before = tree_of(elsewhere)
    for words in (
        ("sync", "--dead", "linked"),
        ("sync", "--refused"),
        ("sync", "--accept"),
        ("gc", "--older-than", "0s"),
        ("runs", "delete", "linked", "--force"),
        ("doctor",),
    ):
        done = faults.trackyard(*words)
        assert "Traceback" not in done.stderr, done.stderr
    assert tree_of(elsewhere) == before


ROW = """
import sqlite3, sys
with sqlite3.connect(".trackyard/store.db") as store:
    store.execute("update outputs set uri = ?", (sys.argv[1],))
"""


@pytest.mark.parametrize("kind", ["fifo", "device", "another file"])
def test_t14_the_row_of_an_output_that_names_something_else_opens_nothing(faults, tmp_path, kind):
    code = (
        "from trackyard import pipeline, step\n"
        "@step(experiment_tracker=None)\ndef make() -> int:\n    return 1\n"
        "@pipeline\ndef making():\n    make()\nmaking()\n"
    )
    assert faults.python(code).returncode == 0
    place = tmp_path / "secret.json"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "device":
        place = Path("/dev/zero")
    else:
        place.write_text(f'"{SECRET}"')
    assert faults.python(ROW, str(place)).returncode == 0
    (output,) = Client().list_outputs()
    with pytest.raises(OutputError) as raised:
        output.load()

    assert SECRET not in str(raised.value)
    assert ("no regular file" in str(raised.value)) == (kind != "another file")


@pytest.mark.slow
def test_t15_the_export_of_a_stack_from_elsewhere_runs_nothing_when_it_is_imported(faults, server):
    address, seen = server
    (faults.root / "trackyard.toml").write_text("")
    for name in ("notes", "evil"):
        place = str(faults.root / "executed")
        (faults.root / f"{name}.py").write_text(CANARY.format(place=place))
    (faults.root / "export.toml").write_text(
        '[experiment_trackers.notes]\nflavor = "notes:Tracker"\n'
        f'[experiment_trackers.team]\nflavor = "mlflow"\ntracking_uri = "{address}"\n'
        'tracking_token = "env:MY_CLOUD_SECRET"\n'
        '[stacks.theirs]\norchestrator = "evil:Queue"\norchestrator_options = {}\n'
        'experiment_trackers = ["notes", "team"]\n'
    )
    imported = faults.command(PROGRAM, "stack", "import", "export.toml", PYTHONPATH="")
    described = faults.command(PROGRAM, "stack", "describe", "theirs", PYTHONPATH="")

    assert "theirs" in imported.stdout + described.stdout, imported.stderr
    assert seen == []
    assert not (faults.root / "executed").exists()


PAGE = """
import os, sys
from typing import ClassVar
from trackyard import Secret, flavor, hookimpl, secret
@flavor
class Page:
    token: Secret = secret()
    @hookimpl
    def tracker_start_run(self, run):
        pass
    @hookimpl
    def tracker_ui_command(self, host, port):
        code = f"print('serving with {self.token.reveal()}'); print('no port'); raise SystemExit(3)"
        return [sys.executable, "-c", code]
"""


def test_t16_the_log_of_a_page_that_is_served_holds_no_secret(faults, monkeypatch):
    monkeypatch.setenv("PAGE_TOKEN", SECRET)
    (faults.root / "pages.py").write_text(PAGE)
    (faults.root / "trackyard.toml").write_text(
        '[experiment_trackers.pages]\nflavor = "pages:Page"\ntoken = "env:PAGE_TOKEN"\n'
    )
    done = faults.trackyard("ui", "pages", "--no-open")
    log = faults.home / "workers" / "ui-pages.log"

    assert "the server ended with exit code 3: no port" in done.stderr
    assert SECRET not in log.read_text()
    assert "serving with" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
