"""Is the configuration found, and is each mistake in it named with its place and the way out?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from recorder import Recorder

from trackyard import ConfigError, home
from trackyard.project.configuration import find_project
from trackyard.project.structuring import structure
from trackyard.project.trackers import Trackers
from trackyard.system.suggestions import did_you_mean


@attrs.define
class Inner:
    size: int


@attrs.define(kw_only=True)
class Fields:
    text: str = "a"
    whole: int = 1
    number: float = 1.0
    truth: bool = False
    path: Path = Path()
    choice: Literal["near", "far"] = "near"
    level: Literal[1, 2] = 1
    texts: list[str] = attrs.field(factory=list)
    pair: tuple[int, str] = (1, "a")
    many: tuple[int, ...] = ()
    unique: frozenset[str] = frozenset()
    sequence: Sequence[str] = ()
    table: dict[str, int] = attrs.field(factory=dict)
    mapping: Mapping[str, Any] = attrs.field(factory=dict)
    maybe: int | str | None = None
    inner: Inner | None = None
    inners: list[Inner] = attrs.field(factory=list)
    inner_list: list = attrs.field(factory=list)
    positive: int = attrs.field(default=1, validator=attrs.validators.gt(0))
    upper: str = attrs.field(default="", converter=lambda value: value.upper())
    anything: Any = None
    bare: tuple = ()
    either: list[str] | dict[str, str] = attrs.field(factory=list)


ACCEPTED = {
    "text": "b",
    "whole": 2,
    "number": 2.5,
    "truth": True,
    "choice": "far",
    "level": 2,
    "texts": ["a", "b"],
    "table": {"a": 1},
    "mapping": {"a": [1, {}]},
    "maybe": "text",
    "positive": 5,
    "anything": {"any": "thing"},
}


@pytest.mark.parametrize("key", ACCEPTED)
def test_value_of_the_right_type_is_taken_as_it_is(key):
    value = ACCEPTED[key]
    taken = getattr(structure({key: value}, Fields, "place"), key)

    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("number", 2, 2.0),
        ("path", "a/b", Path("a/b")),
        ("pair", [5, "b"], (5, "b")),
        ("many", [5, 6], (5, 6)),
        ("unique", ["a", "a"], frozenset({"a"})),
        ("inner", {"size": 3}, Inner(3)),
        ("inners", [{"size": 3}], [Inner(3)]),
        ("upper", "abc", "ABC"),
        ("bare", [1, "a"], (1, "a")),
        ("either", ["a"], ["a"]),
    ],
)
def test_value_is_brought_to_the_type_that_toml_lacks(key, value, expected):
    assert getattr(structure({key: value}, Fields, "place"), key) == expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("text", 5, "must be a text, not 5"),
        ("text", None, "must be a text, not None"),
        ("whole", "7", "must be a whole number, not '7'"),
        ("whole", True, "must be a whole number, not True"),
        ("whole", 7.0, "must be a whole number, not 7.0"),
        ("number", "7", "must be a number, not '7'"),
        ("number", True, "must be a number, not True"),
        ("truth", 1, "must be true or false, not 1"),
        ("truth", "true", "must be true or false, not 'true'"),
        ("path", 5, "must be a path, not 5"),
        ("choice", "nea", "must be one of 'far', 'near', not 'nea'; did you mean 'near'?"),
        ("level", 3, "must be one of 1, 2, not 3"),
        ("level", True, "must be one of 1, 2, not True"),
        ("texts", "abc", "must be a list, not 'abc'"),
        ("sequence", "abc", "must be a list, not 'abc'"),
        ("pair", [1], "must be a list of 2, not [1]"),
        ("table", ["a"], "must be a table, not ['a']"),
        ("maybe", [], "must be a whole number, not [] or must be a text, not []"),
        ("either", [5], "[0] must be a text, not 5 or must be a table, not [5]"),
        ("positive", 0, "'positive' must be > 0: 0"),
        ("inner", 5, "must be a table, not 5"),
        ("inner_list", 5, "must be a list, not 5"),
        ("upper", 5, "AttributeError: 'int' object has no attribute 'upper'"),
    ],
)
def test_value_of_the_wrong_type_is_refused_with_its_place(key, value, message):
    with pytest.raises(ConfigError) as caught:
        structure({key: value}, Fields, "file.toml: a.b")

    assert str(caught.value) == f"file.toml: a.b.{key}: {message}"


@pytest.mark.parametrize(
    ("table", "place", "message"),
    [
        ({"texts": ["a", 5]}, "texts[1]", "must be a text, not 5"),
        ({"pair": ["a", "b"]}, "pair[0]", "must be a whole number, not 'a'"),
        ({"pair": [1, 2]}, "pair[1]", "must be a text, not 2"),
        ({"many": [1, 2, "c"]}, "many[2]", "must be a whole number, not 'c'"),
        ({"table": {"a": "b"}}, "table.a", "must be a whole number, not 'b'"),
        ({"inner": {"size": "b"}}, "inner.size", "must be a whole number, not 'b'"),
        ({"inner": {}}, "inner.size", "required, but not set"),
        ({"inners": [{"size": 1}, {"sise": 1}]}, "inners[1]", "unknown key 'sise'; did you"),
    ],
)
def test_mistake_inside_a_value_is_refused_with_its_place(table, place, message):
    with pytest.raises(ConfigError) as caught:
        structure(table, Fields, "file.toml: a")

    assert f"file.toml: a.{place}: {message}" in str(caught.value)


def test_every_mistake_of_a_table_is_named_in_a_line_of_its_own():
    with pytest.raises(ConfigError) as caught:
        structure({"text": 5, "whole": "7", "colour": 1}, Fields, "file.toml: a")

    assert sorted(str(caught.value).splitlines()) == [
        "file.toml: a.text: must be a text, not 5",
        "file.toml: a.whole: must be a whole number, not '7'",
        "file.toml: a: unknown key 'colour'; known are "
        + ", ".join(repr(f.name) for f in sorted(attrs.fields(Fields), key=lambda f: f.name)),
    ]


def test_place_that_looks_like_a_message_stays_whole():
    with pytest.raises(ConfigError) as caught:
        structure({"text": 5}, Fields, "/here @ there/file.toml: a")

    assert str(caught.value) == "/here @ there/file.toml: a.text: must be a text, not 5"


def test_annotations_may_name_types_for_type_checkers_only(tmp_path, monkeypatch):
    (tmp_path / "lazily_typed.py").write_text(
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "import attrs, trackyard\n"
        "if TYPE_CHECKING: from sdk_that_is_missing import Thing\n"
        "@trackyard.flavor\n"
        "class Lazy:\n"
        "    size: int = 1\n"
        "    thing: Thing | None = attrs.field(init=False, default=None)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from lazily_typed import Lazy

    assert structure({"size": 2}, Lazy, "place").size == 2
    with pytest.raises(ConfigError, match="must be a whole number"):
        structure({"size": "2"}, Lazy, "place")


# Where the configuration is found


def test_project_without_any_file_is_the_working_directory(project):
    found = find_project()

    assert (found.root, found.home) == (project.root, project.root / ".trackyard")
    assert found.config_file is None
    assert found.place("stacks", "a") == "default configuration: stacks.a"


def test_trackyard_toml_is_found_by_walking_up(project):
    project.configure('active_stack = "here"')
    below = project.root / "a" / "b"
    below.mkdir(parents=True)
    found = find_project(below)

    assert (found.root, found.home) == (project.root, project.root / ".trackyard")
    assert found.table == {"active_stack": "here"}
    assert found.place("stacks", "a") == f"{project.file}: stacks.a"


def test_section_of_pyproject_is_found_by_walking_up(project, monkeypatch):
    file = project.root / "pyproject.toml"
    file.write_text('[tool.trackyard]\nactive_stack = "here"\n')
    (project.root / "a").mkdir()
    monkeypatch.chdir(project.root / "a")
    found = find_project()

    assert found.root == project.root
    assert found.place("stacks", "a") == f"{file}: tool.trackyard.stacks.a"


def test_pyproject_of_others_is_walked_past(project):
    project.configure("")
    below = project.root / "package"
    below.mkdir()
    (below / "pyproject.toml").write_text('[project]\ndependencies = ["trackyard"]\n[tool.ruff]\n')

    assert find_project(below).root == project.root


def test_trackyard_toml_comes_before_pyproject_in_one_folder(project):
    project.configure('active_stack = "own"')
    (project.root / "pyproject.toml").write_text('[tool.trackyard]\nactive_stack = "shared"\n')

    assert find_project().table == {"active_stack": "own"}


def test_section_that_is_ignored_is_named(project, caplog):
    project.configure('active_stack = "own"')
    shared = project.root / "pyproject.toml"
    shared.write_text('[tool.trackyard]\nactive_stack = "shared"\n')
    find_project()

    assert caplog.messages == [
        f"{shared}: [tool.trackyard] is ignored, since trackyard.toml stands beside it; remove one"
    ]


# The user's own file


@pytest.fixture
def users_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "config" / "trackyard" / "trackyard.toml"
    file.parent.mkdir(parents=True)
    return file


def test_file_of_the_user_holds_for_every_project(project, users_file):
    users_file.write_text('[experiment_trackers.team]\nflavor = "recorder:Recorder"\n')
    found = find_project()

    assert list(found.table["experiment_trackers"]) == ["team"]
    assert found.place("experiment_trackers", "team") == f"{users_file}: experiment_trackers.team"
    assert [tracker.name for tracker in Trackers(found).select(True)] == ["team"]


def test_file_of_the_project_comes_before_that_of_the_user(project, users_file):
    users_file.write_text(
        '[experiment_trackers.local]\nflavor = "zebra"\n'
        '[experiment_trackers.team]\nflavor = "recorder:Recorder"\nlabel = "users"\n'
    )
    project.add_tracker("local", Recorder)
    trackers = Trackers(find_project())

    assert [tracker.name for tracker in trackers.select(True)] == ["local"]
    assert trackers.select("team")[0].fields["label"] == "users"


def test_paths_are_relative_to_the_file_that_says_them(project, users_file, monkeypatch):
    below = project.root / "deep"
    below.mkdir()
    monkeypatch.chdir(below)
    (users_file.parent / "token").write_text("of the user")
    (project.root / "token").write_text("of the project")
    text = '[experiment_trackers.{}]\nflavor = "recorder:Recorder"\ntoken = "file:token"\n'
    users_file.write_text(text.format("team"))
    project.configure(text.format("local"))
    trackers = Trackers(find_project())
    local, team = (trackers.select(name)[0].new_instance() for name in ("local", "team"))

    assert (local.directory, team.directory) == (
        project.root / "calls",
        users_file.parent / "calls",
    )
    assert (local.token.reveal(), team.token.reveal()) == ("of the project", "of the user")


# Variables of the environment


@pytest.fixture
def variable(monkeypatch, project):
    project.add_tracker("my team", Recorder, label="file")
    return lambda name, value: monkeypatch.setenv(f"TRACKYARD_{name}", value)


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("LABEL", "5", "5"),
        ("TAGS", "a, b", ["a", "b"]),
        ("OPTIONS", "a=1,b=x=2", {"a": "1", "b": "x=2"}),
        ("TOKEN", "env:HOME", "env:HOME"),
    ],
)
def test_variable_stands_in_for_a_field(variable, field, text, expected):
    variable(f"TRACKER__MY_TEAM__{field}", text)
    (tracker,) = Trackers(find_project()).select("my team")

    assert tracker.fields[field.lower()] == expected
    assert tracker.table[field.lower()] == expected


def test_variable_stands_in_for_an_option_of_core(variable):
    variable("TRACKER__MY_TEAM__START_TIMEOUT", "2.5")
    (tracker,) = Trackers(find_project()).select("my team")

    assert tracker.options.start_timeout == 2.5


def test_variables_stand_in_for_stacks(variable, project):
    with project.file.open("a") as file:
        file.write("[stacks.default]\n[stacks.other]\n")
    variable("ACTIVE_STACK", "other")
    variable("STACK__OTHER__EXPERIMENT_TRACKERS", "my team")

    assert Trackers(find_project()).stack.name == "other"
    assert Trackers(find_project()).stack.experiment_trackers == ("my team",)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TRACKER__MY_TAEM__LABEL", "a", "names no configured experiment tracker; did you mean"),
        ("TRACKER__LABEL", "a", "names no configured experiment tracker; names are 'MY_TEAM'"),
        ("TRACKER__MY_TEAM__LABLE", "a", "'LABLE' is no field; did you mean 'LABEL'?"),
        ("TRACKER__MY_TEAM__REQUIRED", "a", "must be true or false, not 'a'"),
        ("STACK__OTHER__LABELS", "a=b", "names no configured stack"),
        ("ACTIVE_STACK", "zebra", "no stack 'zebra' is configured"),
        ("ISOLATION", "proces", "must be one of 'auto', 'process', 'thread', not 'proces'; did"),
    ],
)
def test_wrong_variable_is_one_message(variable, name, value, message):
    variable(name, value)

    with pytest.raises(ConfigError) as caught:
        Trackers(find_project()).select(True)
    assert str(caught.value).startswith(f"TRACKYARD_{name}: {message}")
    assert "\n" not in str(caught.value)


def test_blocked_name_that_is_not_installed_is_said(project, monkeypatch, caplog, install):
    install("acme-tracker", {}, flavors={"acme": "acme:Tracker"})
    monkeypatch.setenv("TRACKYARD_DISABLE_PLUGINS", "acne, mlflow, Acme_Tracker")
    Trackers(find_project())

    (message,) = caplog.messages
    assert message.startswith("TRACKYARD_DISABLE_PLUGINS: no plugin or distribution 'acne' is inst")
    assert message.endswith("; did you mean 'acme'?")


# What is wrong with files


@pytest.mark.parametrize("name", ["trackyard.toml", "pyproject.toml"])
@pytest.mark.parametrize("content", [b"trackyard = ", b"trackyard = '\xff'", b"[trackyard]\n" * 2])
def test_file_that_is_no_toml_is_named(project, name, content):
    (project.root / name).write_bytes(content)

    with pytest.raises(ConfigError, match=rf"{project.root / name}: is not valid TOML: "):
        find_project()


@pytest.mark.parametrize("text", ["tool = 5 # trackyard", "[tool]\ntrackyard = 5"])
def test_section_of_pyproject_that_is_no_table_is_named(project, text):
    (project.root / "pyproject.toml").write_text(text)

    with pytest.raises(ConfigError, match=r"pyproject.toml: tool.*: must be a table, not 5"):
        find_project()


def test_file_that_cannot_be_read_is_named(project, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(13, "Permission denied")

    project.configure("")
    monkeypatch.setattr(Path, "read_text", fail)

    with pytest.raises(ConfigError, match=r"trackyard\.toml: cannot be read: Permission denied"):
        find_project()


def test_pyproject_that_cannot_be_read_is_walked_past(project, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(13, "Permission denied")

    (project.root / "pyproject.toml").touch()
    monkeypatch.setattr(Path, "read_bytes", fail)

    assert find_project().config_file is None


def test_home_is_moved_by_the_environment(project, tmp_path, monkeypatch):
    project.configure("")
    monkeypatch.setenv("TRACKYARD_HOME", str(tmp_path / "else where"))
    assert home() == tmp_path / "else where"

    monkeypatch.setenv("TRACKYARD_HOME", "relative")
    assert home() == project.root / "relative"

    monkeypatch.setenv("TRACKYARD_HOME", "~/data")
    monkeypatch.setenv("HOME", "/users/ann")
    assert home() == Path("/users/ann/data")

    monkeypatch.setenv("TRACKYARD_HOME", "")
    assert home() == project.root / ".trackyard"


def test_files_are_not_made_by_looking(project):
    Trackers(find_project()).select(True)

    assert list(project.root.iterdir()) == []


# What a mistake looks like, from the file to the message


def mistake(text: str, project, file: Path | None = None, **arguments) -> str:
    (file or project.file).write_text(text)
    with pytest.raises(ConfigError) as caught:
        Trackers(find_project()).select(arguments.pop("selection", True), **arguments)
    return str(caught.value)


RECORDER = f'flavor = "{Recorder.__module__}:Recorder"\n'
LOCAL = "[experiment_trackers.local]\n" + RECORDER

MISTAKES = {
    "unknown section": ("[stack.a]", "stack: unknown key; did you mean 'stacks'?"),
    "odd section": (
        "[zebra]",
        (
            "zebra: unknown key; known are 'active_stack', 'console', 'context', "
            "'experiment_trackers', 'journal', 'params', 'stacks', 'store'"
        ),
    ),
    "section is no table": ("stacks = 5", "stacks: must be a table, not 5"),
    "tracker is no table": (
        "[experiment_trackers]\nlocal = 5",
        "experiment_trackers.local: must be a table, not 5",
    ),
    "no name": ('[experiment_trackers.""]', "experiment_trackers: a name must not be empty"),
    "no flavor": (
        "[experiment_trackers.local]",
        "experiment_trackers.local.flavor: required, but not set",
    ),
    "flavor is no text": (
        "[experiment_trackers.local]\nflavor = 5",
        "experiment_trackers.local.flavor: must be a text, not 5",
    ),
    "unknown key": (
        LOCAL + 'lable = "a"',
        "experiment_trackers.local: unknown key 'lable'; did you mean 'label'?",
    ),
    "misspelt option": (
        LOCAL + "requird = true",
        "experiment_trackers.local: unknown key 'requird'; did you mean 'required'?",
    ),
    "wrong type": (LOCAL + "label = 5", "experiment_trackers.local.label: must be a text, not 5"),
    "wrong item": (
        LOCAL + 'tags = ["a", 5]',
        "experiment_trackers.local.tags[1]: must be a text, not 5",
    ),
    "required": (
        LOCAL + "required = 1",
        "experiment_trackers.local.required: must be true or false, not 1",
    ),
    "isolation": (
        LOCAL + 'isolation = "threads"',
        (
            "experiment_trackers.local.isolation: "
            "must be one of 'auto', 'process', 'thread', not 'threads'; did you mean 'thread'?"
        ),
    ),
    "rank": (
        LOCAL + 'rank = "first"',
        "experiment_trackers.local.rank: must be one of 'all', 'zero', not 'first'",
    ),
    "start_timeout": (
        LOCAL + "start_timeout = -1",
        "experiment_trackers.local.start_timeout: must be 0 or more seconds, not -1.0",
    ),
    "start_timeout nan": (
        LOCAL + "start_timeout = nan",
        "experiment_trackers.local.start_timeout: must be 0 or more seconds, not nan",
    ),
    "flush_timeout": (
        LOCAL + 'flush_timeout = "10"',
        "experiment_trackers.local.flush_timeout: must be a number, not '10'",
    ),
    "misspelt flavor": (
        '[experiment_trackers.local]\nflavour = "mlflow"',
        "experiment_trackers.local.flavor: required, but not set; 'flavour' is written instead",
    ),
    "flavor that is not in its module": (
        '[experiment_trackers.local]\nflavor = "recorder:Recordr"',
        (
            "experiment_trackers.local.flavor: flavor 'recorder:Recordr' from recorder:Recordr "
            f"cannot be loaded: {Path(__file__).parents[1] / 'modules' / 'recorder.py'} has no "
            "'Recordr'; did you mean 'Recorder'?"
        ),
    ),
    "stack's key": (
        LOCAL + "[stacks.default]\nexperiment_tracker = []",
        "stacks.default: unknown key 'experiment_tracker'; did you mean 'experiment_trackers'?",
    ),
    "stack's type": (
        LOCAL + '[stacks.default]\nexperiment_trackers = "local"',
        "stacks.default.experiment_trackers: must be a list, not 'local'",
    ),
    "stack's tracker": (
        LOCAL + '[stacks.default]\nexperiment_trackers = ["locall"]',
        (
            "stacks.default.experiment_trackers: "
            "no experiment tracker 'locall' is configured; did you mean 'local'?"
        ),
    ),
    "active stack": (
        LOCAL + "[stacks.team]",
        "active_stack: no stack 'default' is configured; configured are 'team'",
    ),
    "active stack misspelt": (
        'active_stack = "taem"\n' + LOCAL + "[stacks.team]",
        "active_stack: no stack 'taem' is configured; did you mean 'team'?",
    ),
    "active stack without stacks": (
        'active_stack = "team"\n' + LOCAL,
        "active_stack: no stack 'team' is configured; configured are none",
    ),
    "active stack is no text": ("active_stack = 5", "active_stack: must be a text, not 5"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_in_trackyard_toml_is_one_message_with_its_place(project, text, message):
    assert mistake(text, project) == f"{project.file}: {message}"


@pytest.mark.parametrize("kind", ["unknown section", "unknown key", "wrong item", "active stack"])
def test_mistake_in_pyproject_has_its_place_there(project, kind):
    text, message = MISTAKES[kind]
    text = text.replace("[experiment_", "[tool.trackyard.experiment_")
    text = text.replace("[stack", "[tool.trackyard.stack")
    file = project.root / "pyproject.toml"

    assert mistake(text, project, file) == f"{file}: tool.trackyard.{message}"


def test_flavor_that_is_missing_has_its_place(project):
    text = '[experiment_trackers.local]\nflavor = "nowhere:Tracker"'
    message = mistake(text, project)

    assert message.startswith(f"{project.file}: experiment_trackers.local.flavor: flavor 'nowhere:")
    assert "No module named 'nowhere'" in message


def test_unknown_flavor_names_the_installed_ones(project, install):
    install("acme-tracker", {}, flavors={"acme": "acme:Tracker"})
    text = '[experiment_trackers.local]\nflavor = "acne"'

    assert mistake(text, project) == (
        f"{project.file}: experiment_trackers.local.flavor: no flavor 'acne' is installed; "
        "did you mean 'acme'?"
    )


def test_the_end_of_a_name_leads_to_the_whole_name():
    known = ["tracking_uri", "tracking_token", "tags"]

    assert did_you_mean("token", known) == "; did you mean 'tracking_token'?"
    assert did_you_mean("colour", known) == did_you_mean("", known) == ""


def test_working_directory_that_was_deleted_is_one_clear_error(project):
    code = "import os, trackyard\nos.rmdir(os.getcwd())\ntry: trackyard.start_run().__enter__()"
    code += "\nexcept trackyard.ConfigError as error: print(error)"
    (project.root / "gone").mkdir()

    result = project.python(f"import os; os.chdir('gone')\n{code}")

    assert result.stdout == (
        "the working directory was deleted; change into one that is there: cd <folder>\n"
    ), result.stderr
