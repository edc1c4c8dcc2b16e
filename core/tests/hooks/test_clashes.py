"""Is a plugin named that another one stands in the way of, or that was made for other releases?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from click.testing import CliRunner

import trackyard
from trackyard import Client, PluginError
from trackyard.cli.main import cli
from trackyard.hooks import discovery, releases
from trackyard.hooks.discovery import load_flavor
from trackyard.runs.doctor import examine

GOOD = """
from trackyard import flavor, hookimpl

@flavor
class Tracker:
    '''A flavor that keeps the rules.'''
    @hookimpl
    def tracker_start_run(self, run): ...
"""
PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "1.0"
description = "A tracker"
requires-python = ">=3.11"
dependencies = ["{requires}"]
[project.entry-points."trackyard.flavors"]
acme = "{module}:Tracker"
[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]
"""


def rows(*arguments):
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    return [row for row in json.loads(result.stdout) if row["name"] == "acme"]


@pytest.fixture
def clash(install):
    install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker"})
    install("beta-tracker", {"beta": GOOD}, flavors={"acme": "beta:Tracker"}, version="3")


@pytest.fixture
def metadata(install):
    """Install a flavor that requires some releases of core."""

    def made(requires):
        releases.why_other_release.cache_clear()
        text = f"Name: acme-tracker\nVersion: 1.0\nRequires-Dist: {requires}\n"
        install("acme-tracker", {"acme": GOOD}, metadata=text, flavors={"acme": "acme:Tracker"})

    yield made
    releases.why_other_release.cache_clear()


def test_clash_is_shown_by_every_command_that_lists(project, clash):
    said = "is declared by acme-tracker 1.0 and beta-tracker 3; do without one of them: type: "

    for listed in (rows("plugins"), rows("experiment-tracker", "flavor", "list")):
        assert len(listed) == 2
        assert all(said in row["problem"] for row in listed)
    found = [one for one in examine(project.root).problems if "acme" in one.subject]
    assert len(found) == 2
    assert all("TRACKYARD_DISABLE_PLUGINS=beta-tracker" in one.advice for one in found)
    assert {row["status"] for row in rows("experiment-tracker", "flavor", "list")} == {"clash"}


@pytest.mark.parametrize("blocked", ["acme-tracker", "beta_tracker"])
def test_one_that_is_blocked_is_out_of_the_way(project, clash, monkeypatch, blocked):
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", blocked)

    module = "acme" if blocked.startswith("beta") else "beta"
    assert load_flavor("acme").__module__ == module
    assert Client().get_flavor("acme").status == "ready"
    statuses = [row["status"] for row in rows("experiment-tracker", "flavor", "list", "--load")]
    assert sorted(statuses) == ["blocked", "ready"]
    assert [one for one in examine(project.root).problems if "acme" in one.subject] == []


def test_both_may_be_blocked(clash, monkeypatch):
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "acme-tracker,beta-tracker")

    with pytest.raises(PluginError, match="is blocked by"):
        load_flavor("acme")


def test_ready_is_said_of_what_was_loaded_alone(install):
    install("acme-tracker", {"acme": GOOD}, flavors={"acme": "acme:Tracker"})

    assert rows("experiment-tracker", "flavor", "list")[0]["status"] == "installed"
    assert rows("experiment-tracker", "flavor", "list", "--load")[0]["status"] == "ready"


@pytest.mark.parametrize(
    "requires",
    [
        "trackyard",
        "trackyard (>=0.1)",
        "trackyard>=0.1,<0.2",
        "trackyard[testing]~=0.1.0",
        "trackyard==0.1.*",
        "trackyard>=0.1,!=0.1.7",
        'trackyard>=9; extra == "dev"',
        "trackyard-csv>=9",
        "trackyard nonsense",
    ],
)
def test_flavor_for_this_release_is_loaded(metadata, requires):
    metadata(requires)

    assert load_flavor("acme")


@pytest.mark.parametrize(
    ("requires", "word", "typed"),
    [
        ("trackyard>=0.2,<0.3", "old", "trackyard"),
        ("trackyard~=1.4", "old", "trackyard"),
        ("trackyard>=0.0.5,<0.1", "new", "acme-tracker"),
        ("trackyard<0.1", "new", "acme-tracker"),
        ("trackyard>=0.1,!=0.1.0", "new", "acme-tracker"),
    ],
)
def test_flavor_for_another_release_is_refused(project, metadata, requires, word, typed):
    metadata(requires)
    wanted = requires.removeprefix("trackyard")
    said = f"it was made for trackyard {wanted}, and {trackyard.__version__} is installed"

    with pytest.raises(PluginError) as caught:
        load_flavor("acme")
    assert said in str(caught.value)
    assert f"too {word} for it; type: pip install --upgrade {typed}, " in str(caught.value)
    assert said in rows("plugins")[0]["problem"]
    assert [one for one in examine(project.root).problems if "made for" in one.text]


def test_plugin_that_sleeps_as_it_is_imported_is_named(install, monkeypatch):
    monkeypatch.setattr(discovery, "IMPORT_LIMIT", 0.5)
    install("acme-tracker", {"acme": "import time; time.sleep(60)"}, flavors={"acme": "acme:T"})
    install("a-fine", {"fine": GOOD}, flavors={"fine": "fine:Tracker"})

    (row,) = rows("plugins")
    assert row["problem"].startswith("flavor 'acme' from acme-tracker 1.0 is not imported after ")
    assert "TRACKYARD_DISABLE_PLUGINS=acme-tracker" in row["problem"]
    listed = rows("experiment-tracker", "flavor", "list", "--load")
    assert [row["status"] for row in listed] == ["broken"]


def test_plugin_that_sleeps_as_it_is_imported_holds_up_one_start_of_a_run(install, monkeypatch):
    monkeypatch.setattr(discovery, "IMPORT_LIMIT", 0.2)
    install(
        "acme-watch", {"acme_watch": "import time; time.sleep(60)"}, plugins={"w": "acme_watch"}
    )

    first, again = discovery.load_plugins(), discovery.load_plugins()

    assert first == again
    assert first[0] == ()
    assert "TRACKYARD_DISABLE_PLUGINS=acme-watch" in first[1][0]


@pytest.mark.parametrize("group", ["flavors", "plugins"])
@pytest.mark.parametrize("call", ["os._exit(3)", "os.abort()"])
def test_plugin_that_ends_the_process_as_it_is_imported_is_named(install, group, call):
    install("acme-tracker", {"acme": f"import os; {call}"}, **{group: {"acme": "acme:T"}})
    whole = {name: getattr(os, name) for name in ("_exit", "abort")}

    (row,) = rows("plugins")
    assert f"cannot be loaded: SystemExit: {call} would end the process" in row["problem"]
    assert {name: getattr(os, name) for name in whole} == whole


def test_child_that_a_plugin_forks_as_it_is_imported_ends_as_it_wants(install):
    code = "import os\nchild = os.fork() or os._exit(7)\ncode = os.waitpid(child, 0)[1] >> 8\n"
    install("acme-tracker", {"acme": f"{code}{GOOD}"}, flavors={"acme": "acme:Tracker"})

    assert load_flavor("acme")
    assert sys.modules["acme"].code == 7


def test_plugin_that_exits_as_it_is_imported_is_named(install):
    install("acme-tracker", {"acme": "import sys; sys.exit(0)"}, flavors={"acme": "acme:T"})

    (row,) = rows("plugins")
    assert row["problem"] == ("flavor 'acme' from acme-tracker 1.0 cannot be loaded: SystemExit: 0")


@pytest.mark.slow
def test_real_distributions_that_clash_are_told_apart(project, tmp_path):
    """Built, installed and seen by a Python of its own."""
    site = tmp_path / "site"
    for name, module, requires in (
        ("acme-tracker", "acme_one", "trackyard>=0.1,<0.2"),
        ("acme-other", "acme_two", "trackyard>=7"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        text = PYPROJECT.format(name=name, module=module, requires=requires)
        (folder / "pyproject.toml").write_text(text)
        (folder / f"{module}.py").write_text(GOOD)
        build = "from hatchling.build import build_wheel; print(build_wheel('.'))"
        done = subprocess.run(
            [sys.executable, "-c", build], cwd=folder, capture_output=True, text=True, check=True
        )
        zipfile.ZipFile(folder / done.stdout.split()[-1]).extractall(site)

    def listed(**environment):
        done = project.trackyard("plugins", "--json", PYTHONPATH=str(site), **environment)
        return {
            r["distribution"]: r["problem"] for r in json.loads(done.stdout) if r["name"] == "acme"
        }

    assert all("is declared by acme-other 1.0 and acme-tracker 1.0" in p for p in listed().values())
    alone = listed(TRACKYARD_DISABLE_PLUGINS="acme-other")
    assert alone["acme-tracker"] == ""
    other = listed(TRACKYARD_DISABLE_PLUGINS="acme-tracker")
    assert "it was made for trackyard >=7, and" in other["acme-other"]
    shutil.rmtree(site)
