"""Which trackers does a step get, with which fields, and are their secrets kept secret?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types

import attrs
import pytest
from canary import CANARY
from recorder import Recorder

from trackyard import Capabilities, ConfigError, Secret, flavor, hookimpl, start_run
from trackyard.project.configuration import find_project
from trackyard.project.stacks import active_stack, artifact_store_url
from trackyard.project.trackers import Trackers

VALUE = CANARY


def select(selection=True, settings=None):
    return Trackers(find_project()).select(selection, settings)


def instance(selection="local", settings=None):
    (tracker,) = select(selection, settings)
    return tracker.new_instance()


@pytest.fixture
def two(project):
    """Two trackers of one flavor, of which the active stack holds one."""
    project.add_tracker("local", Recorder, tags=["project"], label="here")
    project.add_tracker("team", Recorder)
    with project.file.open("a") as file:
        file.write('[stacks.default]\nexperiment_trackers = ["team"]\n')
    return project


# Stacks


def test_true_chooses_the_trackers_of_the_active_stack(two):
    assert [tracker.name for tracker in select(True)] == ["team"]


@pytest.mark.parametrize("nothing", [None, False, [], ""])
def test_nothing_chooses_no_tracker(two, nothing):
    assert select(nothing) == []


def test_names_choose_trackers_in_their_order_and_once(two):
    assert [t.name for t in select(["team", "local", "team"])] == ["team", "local"]
    assert [t.name for t in select("local")] == ["local"]


def test_without_stacks_every_tracker_is_in_the_default_one(project):
    project.add_tracker("a", Recorder)
    project.add_tracker("b", Recorder)

    assert active_stack(find_project()).experiment_trackers == ("a", "b")


def test_stack_may_hold_no_tracker(project, caplog):
    project.add_tracker("local", Recorder)
    with project.file.open("a") as file:
        file.write("[stacks.default]\n")

    assert select(True) == []
    assert "stack 'default' has no experiment tracker: " in caplog.text
    assert "name some of 'local' there" in caplog.text


def test_a_stack_without_tracker_is_said_once(project, caplog):
    trackers = Trackers(find_project())
    assert trackers.select(True) == trackers.select(True) == []
    assert caplog.text.count("has no experiment tracker") == 1


def test_without_configuration_and_default_flavor_there_is_no_tracker(project, caplog):
    assert select(True) == []
    assert "pip install trackyard-mlflow" in caplog.text
    with pytest.raises(
        ConfigError, match=r"no experiment tracker 'local' .* pip install trackyard"
    ):
        select("local")


def test_without_configuration_the_default_flavor_is_the_tracker_local(project, install):
    site = install("stand-in", flavors={"mlflow": "recorder:Recorder"})
    code = (
        "import sys, importlib_metadata\n"
        "keep = importlib_metadata.Distribution.discover\n"
        "importlib_metadata.distributions = lambda **_: keep(path=[sys.argv[1]])\n"
        "from trackyard.project.configuration import find_project\n"
        "from trackyard.project.trackers import Trackers\n"
        "(tracker,) = Trackers(find_project()).select(True)\n"
        "print(tracker.name, tracker.flavor.__name__)\n"
    )
    arguments = ("-c", code, str(site))
    cache = str(project.root / "cache")  # none knows what else is installed
    result = project.command(
        sys.executable, *arguments, TRACKYARD_DISABLE_PLUGINS="", XDG_CACHE_HOME=cache
    )

    assert result.stdout == "local Recorder\n", result.stderr


def test_unknown_tracker_is_answered_with_the_nearest_name(two):
    with pytest.raises(ConfigError, match=r"no experiment tracker 'locl' .* did you mean 'local'"):
        select("locl")
    with pytest.raises(ConfigError, match="configured are 'local', 'team'"):
        select(["zebra"])


@pytest.mark.parametrize("odd", [5, [5], {"local": 1}, object(), [None]])
def test_selection_that_is_no_name_is_refused(two, odd):
    with pytest.raises(ConfigError, match="experiment_tracker"):
        select(odd)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (None, "{home}/artifacts"),
        ("outputs", "{root}/outputs"),
        ("/mnt/outputs", "/mnt/outputs"),
        ("s3://bucket/outputs", "s3://bucket/outputs"),
    ],
)
def test_artifact_store_is_relative_to_the_project(project, written, expected):
    if written is not None:
        project.configure(f'[stacks.default]\nartifact_store = "{written}"\n')
    found = find_project()
    expected = expected.format(home=found.home, root=found.root)

    assert artifact_store_url(found, active_stack(found)) == expected


@pytest.mark.parametrize("name", ["a b", "../x", "é", "a/b", "x" * 300, ".", "\n"], ids=ascii)
def test_tracker_may_have_any_name(project, name):
    project.configure(
        f"[experiment_trackers.{json.dumps(name)}]\n"
        f'flavor = "recorder:Recorder"\ndirectory = "{project.root}/calls/local"\n'
    )
    with start_run() as run:
        run.log_metric("a", 1)

    assert project.hooks() == ["start", "log", "end"]
    users = "nothing"  # the folder of the user's configuration, which holds their key
    assert {path.name for path in project.root.parent.iterdir()} == {"project", users}


# Settings of a step


def test_settings_by_tracker_name_are_laid_over_the_fields(two):
    assert instance(settings={"local": {"label": "there"}}).label == "there"
    assert instance().label == "here"


def test_settings_by_flavor_name_reach_every_tracker_of_it(two):
    settings = {"recorder:Recorder": {"label": "both"}}

    assert [t.new_instance().label for t in select(["local", "team"], settings)] == ["both"] * 2


def test_settings_by_tracker_name_come_before_those_by_flavor_name(two):
    settings = {"recorder:Recorder": {"label": "flavor"}, "local": {"label": "tracker"}}

    assert instance(settings=settings).label == "tracker"


def test_tags_are_joined_and_not_doubled(two):
    assert instance(settings={"local": {"tags": ["step", "project"]}}).tags == ["project", "step"]
    assert instance().tags == ["project"]


def test_tables_are_joined(two):
    first = {"recorder:Recorder": {"options": {"a": "1", "b": "2"}}}
    both = {**first, "local": {"options": {"b": "3"}}}

    assert instance(settings=first).options == {"a": "1", "b": "2"}
    assert instance(settings=both).options == {"a": "1", "b": "3"}


def test_settings_may_change_the_options_of_core(two):
    (tracker,) = select("local", {"local": {"required": True, "start_timeout": 1}})

    assert (tracker.options.required, tracker.options.start_timeout) == (True, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"locl": {}},
            r"settings: 'locl' is no experiment tracker or flavor; did you mean 'local'",
        ),
        ({"zebra": {}}, r"settings: 'zebra' is no .*; known are 'local', 'recorder:Recorder', 'te"),
        ({"local": 5}, r"settings\['local'\]: must be a dict, not 5"),
        ({"local": {"lable": "a"}}, r"local with the step's settings: unknown key 'lable'; did yo"),
        ({"local": {"label": 5}}, r"the step's settings.label: must be a text, not 5"),
        ({"local": {"start_timeout": "1"}}, r"settings.start_timeout: must be a number, not '1'"),
        ({5: {}}, r"settings: 5 is no experiment tracker or flavor"),
        (5, r"settings: must be a dict, not 5"),
    ],
)
def test_wrong_settings_are_refused(two, settings, message):
    with pytest.raises(ConfigError, match=message):
        select("local", settings)


def test_settings_may_name_trackers_and_flavors_that_the_step_does_not_use(two):
    assert select("team", {"local": {"label": "a"}})
    assert select(None, {"recorder:Recorder": {"label": "a"}}) == []


# Secrets


def test_secret_is_read_when_it_is_needed(project, monkeypatch):
    project.add_tracker("local", Recorder, token="env:ANNS_TOKEN")
    monkeypatch.setenv("ANNS_TOKEN", VALUE)
    secret = instance().token

    assert secret.reveal() == VALUE
    monkeypatch.setenv("ANNS_TOKEN", "another")
    assert secret.reveal() == "another"


@pytest.mark.parametrize("show", [repr, str, attrs.asdict, vars, "{}".format])
def test_instance_shows_nothing_of_a_secret(project, monkeypatch, show):
    project.add_tracker("local", Recorder, token="env:ANNS_TOKEN")
    monkeypatch.setenv("ANNS_TOKEN", VALUE)
    (tracker,) = select("local")

    assert VALUE not in str(show(tracker.new_instance()))
    assert VALUE not in repr(tracker)
    assert VALUE not in str(tracker)


def test_secret_shows_its_reference():
    assert repr(Secret("env:A")) == str(Secret("env:A")) == "Secret('env:A')"


def test_secret_of_a_file_is_read_without_the_line_end(project, tmp_path):
    (tmp_path / "canary-token").write_text(f"{VALUE}\n")

    assert Secret(f"file:{tmp_path / 'canary-token'}").reveal() == VALUE


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("env:NOT_SET_ANYWHERE", "the environment variable NOT_SET_ANYWHERE is not set"),
        ("file:/not/there", "the file cannot be read"),
        ("file:/dev/null", "the file is empty"),
        ("keyring:service/ann", "type: pip install 'trackyard[keyring]'"),
    ],
)
def test_secret_that_is_not_there_is_one_message(project, monkeypatch, reference, problem):
    monkeypatch.setitem(sys.modules, "keyring", None)
    project.add_tracker("local", Recorder, token=reference)

    with pytest.raises(ConfigError) as caught:
        select("local")
    message = str(caught.value)

    assert message.startswith(f"{project.file}: experiment_trackers.local.token: {reference}: ")
    assert problem in message
    assert "\n" not in message


RING = """
from keyring.backend import KeyringBackend

class Ring(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        return f"of {username} at {service}"

    set_password = get_password
"""


class Keyring(types.ModuleType):
    """A keyring with one entry; of another service it says that it is locked."""

    class errors:
        class KeyringError(Exception): ...

    @classmethod
    def get_password(cls, service, user):
        if service == "locked":
            raise cls.errors.KeyringError("locked")
        return VALUE if (service, user) == ("service", "ann/lee") else None


def test_secret_of_a_keyring_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", Keyring("keyring"))

    assert Secret("keyring:service/ann/lee").reveal() == VALUE
    with pytest.raises(ConfigError, match="has no such entry; type: keyring set service bob"):
        Secret("keyring:service/bob").reveal()
    with pytest.raises(ConfigError, match=r"the keyring cannot be read \(locked\)"):
        Secret("keyring:locked/ann").reveal()


def test_secret_of_a_real_keyring_is_read(monkeypatch, tmp_path):
    """One whose backend cannot be loaded is one line, too."""
    (tmp_path / "ring.py").write_text(RING)
    code = "import sys; from trackyard import Secret; print(Secret(sys.argv[1]).reveal())"

    def revealed(reference, backend):
        environment = {"PYTHON_KEYRING_BACKEND": backend, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-c", code, reference],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    assert revealed("keyring:wandb/ann", "ring.Ring").stdout == "of ann at wandb\n"
    last = revealed("keyring:wandb/ann", "nothing.Ring").stderr.splitlines()[-1]
    assert last.endswith(
        "keyring:wandb/ann: the keyring cannot be read (No module named 'nothing')"
    )


@pytest.mark.parametrize(
    "literal", ["in plain text", "env:", "ENV:A", "https://a:b@c", 5, ["env:A"]]
)
def test_secret_in_plain_text_is_refused_and_not_shown(project, literal):
    project.add_tracker("local", Recorder, token=literal)

    with pytest.raises(ConfigError) as caught:
        select("local")

    assert str(caught.value) == (
        f"{project.file}: experiment_trackers.local.token: is a secret and must be a reference: "
        "'env:NAME', 'file:PATH' or 'keyring:SERVICE/USER'"
    )


def test_secret_that_is_not_configured_is_none(project):
    project.add_tracker("local", Recorder)

    assert instance().token is None


def test_only_secret_fields_read_references(project):
    project.add_tracker("local", Recorder, label="env:HOME")

    assert instance().label == "env:HOME"


# Flavors


@flavor
class Tracker:
    """A flavor of its own."""

    size: int = 1

    @hookimpl
    def tracker_end_run(self): ...


def test_flavor_compares_by_identity_and_takes_keywords_alone():
    assert Tracker(size=2) != Tracker(size=2)
    assert hash(Tracker())
    with pytest.raises(TypeError):
        Tracker(2)


def test_flavor_may_keep_private_state():
    tracker = Tracker()
    tracker._anything = 5

    assert tracker._anything == 5


def test_every_run_gets_an_instance_of_its_own(project):
    project.add_tracker("local", Tracker)
    (tracker,) = select("local")

    assert tracker.new_instance() is not tracker.new_instance()


@pytest.mark.parametrize("declared", [None, "everything", {}])
def test_capabilities_that_are_none_count_as_the_widest(project, monkeypatch, declared):
    monkeypatch.setattr(Tracker, "capabilities", declared, raising=False)
    project.add_tracker("local", Tracker)

    assert select("local")[0].capabilities == Capabilities()


def test_a_password_in_the_projects_file_stands_nowhere_else(project):
    """What is written of a run has none, and the run goes on with the one that is in the file."""
    project.add_tracker("local", Recorder, label=f"https://ann:{VALUE}@host/")
    (tracker,) = Trackers(find_project()).select("local")

    assert tracker.new_instance().label == f"https://ann:{VALUE}@host/"
    assert tracker.table["label"] == "https://***@host/"
    again = Trackers(find_project()).build("local", tracker.table, tracker.place)
    assert again.new_instance().label == f"https://ann:{VALUE}@host/"
    project.file.unlink()


def test_a_password_that_only_a_program_has_is_kept_for_recovery(project):
    project.add_tracker("local", Recorder)
    label = "https://ann:pass@host/"
    (tracker,) = Trackers(find_project()).select("local", {"local": {"label": label}})

    assert tracker.table["label"] == label
