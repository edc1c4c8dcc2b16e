"""Tests of what flavors share whose backend is a folder of this machine."""

from __future__ import annotations

import errno

import pytest

from trackyard.contract import (
    RetryLater,
    beside_home,
    folder_problems,
    in_home,
    name_on_disk,
    retried_later,
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "trackyard.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_default_lies_in_the_home_and_says_so(project):
    factory = in_home("board")

    assert factory() == project / ".trackyard" / "board"
    assert factory.__doc__ == "`board` in `.trackyard/`."


def test_relative_path_begins_beside_the_home_and_others_stay(project, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))

    assert beside_home("runs") == project / "runs"
    assert beside_home(tmp_path / "a") == tmp_path / "a"
    assert beside_home("~/runs") == tmp_path / "ada" / "runs"


@pytest.mark.parametrize(
    ("text", "name"),
    [("fit lr=0.1", "fit_lr=0.1"), ("../a/b", "_a_b"), ("", "_"), (".", "_"), ("é" * 99, "é" * 60)],
)
def test_name_says_what_the_text_says_and_stays_in_its_folder(text, name):
    assert name_on_disk(text) == name


def test_folder_that_can_be_written_is_made_and_has_no_problem(tmp_path):
    assert folder_problems(tmp_path / "a" / "b", "directory") == []
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_folder_that_cannot_be_written_is_a_problem_of_its_field(tmp_path):
    (tmp_path / "a").touch()

    (problem,) = folder_problems(tmp_path / "a", "directory")

    assert problem.startswith("directory cannot be written: ")
    assert str(tmp_path / "a") in problem


def test_failing_disk_is_asked_again_and_other_errors_are_not():
    with pytest.raises(RetryLater, match="No space left"), retried_later():
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ValueError, match="no number"), retried_later():
        raise ValueError("no number")
