"""Does `flavor new` write a package or say why not, and leave alone what is there?"""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from click.testing import CliRunner

from trackyard.cli.main import cli
from trackyard.hooks.discovery import load_flavor


@pytest.fixture
def new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        command = ["experiment-tracker", "flavor", "new", *map(str, arguments)]
        return CliRunner().invoke(cli, command)

    return run


def test_names_of_package_module_and_class_follow_from_the_flavors(new, tmp_path):
    result = new("my-own_board", "--json")
    written = json.loads(result.stdout)
    project = tomllib.loads((tmp_path / written["directory"] / "pyproject.toml").read_text())

    assert written["distribution"] == project["project"]["name"] == "trackyard-my-own-board"
    assert project["project"]["entry-points"]["trackyard.flavors"] == {
        "my-own_board": "trackyard_my_own_board:MyOwnBoardTracker"
    }
    for file in written["files"]:
        text = (tmp_path / written["directory"] / file).read_text()
        assert not re.search("@[A-Z]+@", text), file


def test_a_name_that_ends_in_tracker_is_not_doubled(new):
    assert json.loads(new("my-tracker", "--json").stdout)["flavor"] == (
        "trackyard_my_tracker:MyTracker"
    )


def test_directory_says_where_it_goes(new, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()

    assert new("board", "--directory", "empty").exit_code == 0
    assert new("board", "--directory", tmp_path / "deep/er").exit_code == 0

    monkeypatch.syspath_prepend(tmp_path / "deep/er/src")
    assert load_flavor("trackyard_board:BoardTracker").__doc__ == "Track runs in board."
    assert (tmp_path / "empty/.github/workflows/check.yml").is_file()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("My Board", "such as 'my-board'"),
        ("7up", "such as 'up'"),
        ("größe", "small letters and digits"),
        ("a--b", "such as 'a-b'"),
        ("", "begin with a letter"),
        ("x" * 31, "at most 30"),
        ("trackyard-board", "such as 'board'"),
        ("../board", "such as 'board'"),
        ("mlflow", "a flavor 'mlflow' already, in trackyard-mlflow"),
    ],
)
def test_a_name_that_will_not_do_is_refused_with_the_reason(new, tmp_path, name, problem):
    result = new(name)

    assert result.exit_code == 2
    assert problem in result.stderr
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(new, tmp_path):
    new("board")
    mine = tmp_path / "trackyard-board/src/trackyard_board/tracker.py"
    mine.write_text("mine")
    (tmp_path / "file").touch()

    for arguments in (["board"], ["board", "--directory", "file"]):
        result = new(*arguments)
        assert result.exit_code == 1
        assert "is there already" in result.stderr
        assert "--directory" in result.stderr
    assert mine.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_one_line_and_leaves_nothing(new, tmp_path):
    (tmp_path / "file").touch()

    result = new("board", "--directory", "file/board")

    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
