"""Does a change of the configuration leave all the rest of the file as it was?"""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, strategies as st

from trackyard.project.toml_text import remove_table, remove_values, rename_table, set_values

FILE = """\
# The team's file
active_stack = "team"  # not mine

# On this machine
[experiment_trackers.local]
flavor = "mlflow"  # sqlite

# The server
[experiment_trackers.team]
flavor = "wandb"
tags = [
  "a",  # first
]

[tool.other]
unknown = [1, 2]

# What we use
[stacks.team]
experiment_trackers = ["local", "team"]
"""
LOCAL, TEAM = ("experiment_trackers", "local"), ("experiment_trackers", "team")


def test_value_is_set_in_its_line_and_a_new_one_below_the_others():
    changed = set_values(FILE, LOCAL, {"flavor": "csv", "port": 5, "tags": {"a": "b"}})

    assert changed == FILE.replace(
        'flavor = "mlflow"  # sqlite\n', 'flavor = "csv"  # sqlite\nport = 5\ntags = {a = "b"}\n'
    )


def test_table_is_added_at_the_end():
    changed = set_values(FILE, ("experiment_trackers", "a b"), {"flavor": "csv"})

    assert changed == FILE + '\n[experiment_trackers."a b"]\nflavor = "csv"\n'


def test_table_is_removed_and_comments_stay():
    changed = remove_table(FILE, TEAM)

    assert changed == FILE.replace(
        '[experiment_trackers.team]\nflavor = "wandb"\ntags = [\n  "a",  # first\n]\n', ""
    )


def test_table_is_renamed_in_its_place():
    changed = rename_table(FILE, TEAM, "the team")

    assert changed == FILE.replace("trackers.team]", 'trackers."the team"]')


def test_value_is_removed_with_its_line():
    assert remove_values(FILE, (), ("active_stack",)) == FILE.replace(
        'active_stack = "team"  # not mine\n', ""
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 'active_stack = "a"\n'),
        ("# only a comment\n", 'active_stack = "a"\n\n# only a comment\n'),
        ("[stacks.a]\n", 'active_stack = "a"\n\n[stacks.a]\n'),
        ('active_stack="b"', 'active_stack="a"'),
    ],
)
def test_first_key_stands_above_all_tables(text, expected):
    assert set_values(text, (), {"active_stack": "a"}) == expected


@pytest.mark.parametrize(
    "text",
    [
        '[experiment_trackers]\nlocal = {flavor = "mlflow"}  # inline\n',
        'experiment_trackers.local.flavor = "mlflow"  # dotted\n',
        '[experiment_trackers]\nlocal.flavor = "mlflow"\n# dotted\n',
        '[ experiment_trackers . "local" ]\nflavor = "mlflow"\n# spaces\n',
        '[experiment_trackers.local]\nflavor = """\n[stacks.a]\n"""\n# a header in a text\n',
    ],
)
def test_other_notations_are_changed_as_well(text):
    (comment,) = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    changed = set_values(text, LOCAL, {"port": 5})

    assert tomllib.loads(changed)["experiment_trackers"]["local"]["port"] == 5
    assert comment in changed
    removed = tomllib.loads(remove_table(changed, LOCAL))
    assert "local" not in removed.get("experiment_trackers", {})
    renamed = tomllib.loads(rename_table(changed, LOCAL, "b"))["experiment_trackers"]
    assert list(renamed) == ["b"]


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
values = st.one_of(st.text(max_size=8), st.integers(-(2**60), 2**60), st.booleans())
tables = st.dictionaries(names, st.dictionaries(names, values, max_size=3), max_size=4)


@given(tables, names, st.dictionaries(names, values, min_size=1, max_size=3))
def test_any_table_is_set_renamed_and_removed(tables, name, new):
    text = ""
    for key, table in tables.items():
        text = set_values(text, ("stacks", key), table)
    changed = set_values(text, ("stacks", name), new)
    wanted = {key: table for key, table in tables.items() if table}

    found = tomllib.loads(changed)["stacks"]
    assert found[name] == {**tables.get(name, {}), **new}
    gone = tomllib.loads(remove_table(changed, ("stacks", name))).get("stacks", {})
    wanted.pop(name, None)
    assert {key: table for key, table in gone.items() if table} == wanted
