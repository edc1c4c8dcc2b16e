"""Does the doctor find what is wrong, and say what to type?"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from importlib.metadata import version

import pytest
import sqlalchemy
from filing import Filing
from keeper import Keeper
from matrices import first_by_default
from recorder import Recorder

from trackyard import flavor, hookimpl, pipeline, start_run, step
from trackyard.project.configuration import find_project
from trackyard.runs.doctor import examine

TOML = '[experiment_trackers.local]\nflavor = "recorder:Recorder"\n'


@flavor
class Hanging(Recorder):
    """Never say whether it works."""

    @hookimpl
    def tracker_check(self):
        time.sleep(60)


@flavor
class Away(Recorder):
    """Be away."""

    @hookimpl
    def tracker_start_run(self, run):
        raise ConnectionError("nobody listens")


def problems(**options):
    return [
        (f.area, f.subject, f.text, f.advice) for f in examine(connect=True, **options).problems
    ]


def notes():
    return [(f.subject, f.text) for f in examine(connect=True).findings if f.status == "note"]


def test_notebook_shows_problems_first_with_what_to_do(project):
    project.add_tracker("<b>", Away)
    with start_run("a", experiment_tracker="<b>") as run:
        run.log_metric("loss", 1.0)
    diagnosis = examine()
    rows = diagnosis._repr_html_().split("<tr>")[2:]

    assert "problem" in repr(diagnosis)
    assert rows[0].startswith("<td>✗ ")
    assert any("trackyard sync" in row for row in rows)
    assert "<b>" not in "".join(rows)


def test_healthy_project_has_no_problem(project):
    project.add_tracker("local", Recorder)
    with start_run("a", experiment_tracker="local") as run:
        run.log_metric("loss", 1.0)
    diagnosis = examine(connect=True)

    assert diagnosis.is_well
    assert diagnosis.problems == ()
    assert [(f.area, f.status) for f in diagnosis.findings] == [
        ("configuration", "ok"),
        ("experiment tracker", "ok"),
        ("runs", "ok"),
        ("disk", "ok"),
        ("store", "ok"),
    ]
    assert [(h.tracker, h.delivered) for h in diagnosis.trackers] == [("local", 1)]
    assert diagnosis.versions["trackyard"] == version("trackyard")
    assert repr(diagnosis) == "<Diagnosis everything is well>"
    assert "<td>✓ experiment tracker</td><td>local</td>" in diagnosis._repr_html_()


@pytest.mark.parametrize(
    ("text", "message"),
    first_by_default([
        ("[stack", "is not valid TOML"),
        ("[stack]\na = 1", "stack: unknown key; did you mean 'stacks'?"),
        (TOML + 'active_stack = "x"\n', "unknown key"),
        ('active_stack = "x"\n' + TOML, "no stack 'x'"),
        ('[journal]\ndurability = "most"\n', "journal.durability"),
        ('[stacks.default]\norchestrator = "zebra"\n', "no orchestrator 'zebra'"),
        ('[stacks.default]\nartifact_store = "zebra://a"\n', "artifact_store zebra://a: cannot"),
    ], 2),
)  # fmt: skip
def test_wrong_configuration_is_a_problem_and_no_traceback(project, text, message):
    project.configure(text)
    result = project.trackyard("doctor", "--connect", "--json")

    assert (result.returncode, result.stderr) == (1, "")
    found = [f for f in json.loads(result.stdout)["findings"] if f["status"] == "problem"]
    assert found
    assert message in found[0]["text"]
    assert found[0]["advice"]


def test_tracker_that_says_what_is_wrong_is_a_problem(project):
    project.add_tracker("filed", Filing, problems=["the disk is full", "and old"])

    assert problems() == [
        ("experiment tracker", "filed", text, "type: trackyard experiment-tracker check filed")
        for text in ("the disk is full", "and old")
    ]


@pytest.mark.slow
def test_without_connecting_no_code_of_the_project_runs_and_no_secret_is_read(project):
    project.configure(
        '[experiment_trackers.local]\nflavor = "nowhere:Tracker"\ntoken = "file:/dev/stdin"\n'
        '[experiment_trackers.other]\nflavor = "nowhere:Tracker"\ntoken = "env:NOT_THERE"\n'
    )
    found = {f.subject: f for f in examine().findings if "tracker" in f.area}

    assert found["local"].status == "ok"
    assert found["local"].advice.endswith("type: trackyard doctor --connect")
    assert found["other"].text.endswith("the environment variable NOT_THERE is not set")
    assert project.trackyard("doctor").returncode == 1
    assert "nowhere" in project.trackyard("doctor", "--connect").stdout


def test_tracker_without_its_secret_is_a_problem(project):
    project.add_tracker("local", Recorder, token="env:NOT_THERE")
    ((area, subject, text, advice),) = problems()

    assert (area, subject) == ("experiment tracker", "local")
    assert "the environment variable NOT_THERE is not set" in text
    assert advice == "type: trackyard experiment-tracker update local --help"


def test_tracker_that_hangs_is_a_problem_after_a_while(project):
    project.add_tracker("hanging", Hanging)
    project.add_tracker("local", Recorder)
    for patience in (0.2, 2.0, 20.0):  # the sound one needs more where the machine is busy
        problems = [(f.subject, f.text) for f in examine(patience=patience, connect=True).problems]
        if len(problems) == 1:
            break

    assert problems == [("hanging", f"no answer within {patience:g} s")]


def test_run_that_has_not_reached_its_tracker_is_a_problem(project):
    project.add_tracker("away", Away, start_timeout=0.1, flush_timeout=0.1)
    with start_run("a", experiment_tracker="away") as run:
        run.log_metric("loss", 1.0)
    first, second = problems()

    assert first[2:] == ("1 run(s) have not reached all of their trackers", "type: trackyard sync")
    assert second[1] == "away"
    assert second[2].startswith("1 record(s) are pending: tracker_start_run: ConnectionError")


def test_quarantined_records_are_a_problem(project):
    project.add_tracker("filed", Filing, directory=str(project.root / "filed"))
    with start_run("a", experiment_tracker="filed") as run:
        run.log_metric("bad", 1.0)
    ((_, subject, text, advice),) = problems()

    assert (subject, text) == ("filed", "it refused 1 record(s), which are quarantined")
    assert advice == (
        f"read {project.root}/.trackyard/runs/*/*/quarantine.jsonl; "
        "to send them again type: trackyard sync --refused"
    )


def test_damaged_journal_and_folder_are_noted(project):
    with start_run("damaged", experiment_tracker=None) as run:
        for number in range(50):
            run.log_metric("loss", number)
    (segment,) = (find_project().home / "runs" / run.id).glob("*.tyj")
    text = segment.read_bytes()
    segment.write_bytes(text.replace(b'"loss":7', b'"loss":8'))
    (find_project().home / "runs" / ("0" * 32)).mkdir()
    (find_project().home / "runs" / ("0" * 32) / "r0-p1-aa.000001.tyj").touch()

    assert (
        "damaged",
        "its journal lost 1 log call(s) to a full or damaged disk, or with a machine",
    ) in notes()
    assert any("without a readable run.json" in text for _, text in notes())


def test_run_that_an_sdk_keeps_offline_is_noted(project):
    project.add_tracker("kept", Keeper)
    with start_run("a", experiment_tracker="kept"):
        pass

    assert ("kept", "its SDK keeps runs on this machine") in notes()


def test_run_of_a_newer_version_is_a_problem(project):
    with start_run("a", experiment_tracker=None) as run:
        run.log_metric("loss", 1)
    file = find_project().home / "runs" / run.id / "run.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 9'))
    ((area, _, text, _),) = problems()

    assert area == "run"
    assert "type: pip install --upgrade trackyard" in text


def test_flavor_whose_sdk_is_missing_is_a_problem(project, install):
    metadata = "Name: acme-tracker\nVersion: 1\nRequires-Dist: acme-sdk>=1\n"
    source = (
        "from trackyard import flavor, hookimpl\n"
        "@flavor\nclass Tracker:\n    @hookimpl\n    def tracker_log(self, run, batch): ...\n"
    )
    install("acme-tracker", {"acme": source}, flavors={"acme": "acme:Tracker"}, metadata=metadata)

    assert ("flavor", "acme of acme-tracker 1", "SDK missing", "type: pip install acme-sdk") in [
        found for found in problems() if found[0] == "flavor"
    ]


def test_variable_of_an_sdk_that_no_tracker_uses_is_noted(project, install, monkeypatch):
    source = (
        "from trackyard.contract import flavor, hookimpl, secret\n"
        "@flavor\nclass Tracker:\n    key: object = secret('Key', env='ACME_KEY')\n"
        "    @hookimpl\n    def tracker_log(self, run, batch): ...\n"
    )
    install("acme-tracker", {"acme_own": source}, flavors={"acme": "acme_own:Tracker"})
    project.configure(TOML)
    assert notes() == []
    monkeypatch.setenv("ACME_KEY", "very-secret")

    assert notes() == [("acme", "ACME_KEY is set, and no configured tracker is of this flavor")]
    (advice,) = [f.advice for f in examine(connect=True).findings if f.subject == "acme"]
    assert advice == "type: trackyard experiment-tracker register acme -f acme"
    project.configure('[experiment_trackers.ours]\nflavor = "acme"\n')
    assert notes() == []


def test_variable_of_an_sdk_whose_flavor_is_missing_is_noted(project, install, monkeypatch):
    project.configure(TOML)
    examine(connect=True)  # what it imports is imported before
    monkeypatch.delenv("TRACKYARD_DISABLE_PLUGINS")
    monkeypatch.setattr("sys.path", [str(install("nothing", {}))])
    monkeypatch.setenv("COMET_API_KEY", "very-secret")

    assert notes() == [
        ("comet", "COMET_API_KEY is set, and no configured tracker is of this flavor")
    ]
    (advice,) = [f.advice for f in examine(connect=True).findings if f.subject == "comet"]
    assert advice == "type: pip install trackyard-comet"


def test_plugin_that_cannot_be_loaded_is_a_problem_until_it_is_left_out(
    project, install, monkeypatch
):
    project.configure(TOML)
    install("acme-audit", {}, plugins={"audit": "acme_audit:plugin"})

    assert [finding[:2] for finding in problems()] == [("plugin", "acme-audit 1.0")]
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "mlflow, audit")
    assert problems() == []


def test_store_that_cannot_be_opened_is_a_problem(project):
    @step
    def load() -> int:
        return 1

    @pipeline
    def training():
        load()

    training()
    assert examine(connect=True).findings[-1].area == "store"
    assert examine(connect=True).is_well
    (find_project().home / "store.db").write_bytes(b"no database at all" * 100)
    ((area, subject, text, advice),) = problems()

    assert (area, subject) == ("store", str(find_project().home / "store.db"))
    assert "file is not a database" in text
    assert "type: trackyard store rebuild" in text + advice


def test_disk_that_takes_nothing_is_a_problem(project, monkeypatch):
    monkeypatch.setenv("TRACKYARD_HOME", "/proc/nothing")

    assert ("disk", "/proc") in [found[:2] for found in problems()]


def test_tracking_that_is_switched_off_is_noted(project, monkeypatch):
    monkeypatch.setenv("TRACKYARD_DISABLE", "1")

    assert any("nothing is tracked" in text for _, text in notes())


def test_command_shows_findings_and_exits_with_1(project):
    project.configure(
        '[experiment_trackers."fil\\u001b[2Jed"]\n'
        'flavor = "filing:Filing"\nproblems = ["it \\u001b[2J is odd"]\n'
    )
    result = project.trackyard("doctor", "--connect")

    assert result.returncode == 1
    assert result.stderr == "1 problem(s)\n"
    assert "\x1b" not in result.stdout
    assert "problem\texperiment tracker\tfil?[2Jed\tit ?[2J is odd\ttype: " in result.stdout
    assert project.trackyard("doctor", "--patience", "-1").returncode == 2


@flavor
class Database(Recorder):
    """Ask a database for a table that it does not have."""

    def note(self, hook, run, **more):
        if hook != "start":
            return
        engine = sqlalchemy.create_engine("sqlite://")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select a, b from runs"))

    @hookimpl
    def tracker_check(self):
        self.note("start", None)


def test_error_of_a_database_is_cut_down_to_its_cause(project):
    project.add_tracker("local", Database, start_timeout=0.2, flush_timeout=0.2)
    with start_run("a", experiment_tracker="local") as run:
        run.log_metric("loss", 1.0)
    cause = "OperationalError: (sqlite3.OperationalError) no such table: runs"
    diagnosis = examine(connect=True)
    texts = [finding.text for finding in diagnosis.problems]

    assert f"tracker_check: {cause}" in texts
    assert f"1 record(s) are pending: tracker_start_run: {cause}" in texts
    assert diagnosis.trackers[0].problem == f"tracker_start_run: {cause}"


def test_error_of_the_store_is_cut_down_to_its_cause(project):
    @pipeline
    def line():
        pass

    line()
    with closing(sqlite3.connect(find_project().home / "store.db")) as connection:
        connection.execute("alter table runs rename to gone")
    (text,) = [
        finding.text for finding in examine(connect=True).problems if finding.area == "store"
    ]

    assert text.endswith("no such table: runs")


def test_file_in_the_place_of_the_folder_is_a_problem(project):
    home = project.root / ".trackyard"
    home.write_text("")

    assert ("disk", str(home), "it is a file, and runs want a folder there") in [
        found[:3] for found in problems()
    ]
