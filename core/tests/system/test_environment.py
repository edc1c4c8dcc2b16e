"""Which run do children find in the environment, and is it afterwards as it was before?"""

from __future__ import annotations

import os

import pytest

from trackyard.system.environment import RUN_FOLDER, RUN_ID, NamedRun, named_run_id


@pytest.fixture
def named(monkeypatch):
    """A run that was started by a child of another one, whose folder it was not told."""
    monkeypatch.setenv(RUN_ID, "outer")
    monkeypatch.delenv(RUN_FOLDER, raising=False)
    return NamedRun()


def variables():
    return os.environ.get(RUN_ID), os.environ.get(RUN_FOLDER)


def test_children_find_the_run_and_its_folder(named, tmp_path):
    named.set("inner", tmp_path)

    assert variables() == ("inner", str(tmp_path))
    assert named_run_id() == "inner"


def test_children_find_none_of_several_runs(named, tmp_path):
    named.set("inner", tmp_path)
    named.hide()

    assert variables() == (None, None)


def test_what_was_there_before_the_first_run_is_put_back(named, tmp_path):
    named.set("inner", tmp_path)
    named.set("second", tmp_path)
    named.hide()
    named.restore()

    assert variables() == ("outer", None)


def test_nothing_is_put_back_where_no_run_was(named, monkeypatch, tmp_path):
    named.set("inner", tmp_path)
    named.restore()
    monkeypatch.setenv(RUN_ID, "of the step itself")
    named.restore()

    assert variables() == ("of the step itself", None)


def test_what_was_cut_short_is_put_back_by_the_next_call(named, monkeypatch, tmp_path):
    class Interrupting(dict):
        """An environment in which a signal comes as the first variable is there again."""

        def pop(self, *arguments):
            if arguments[0] == RUN_FOLDER and is_coming.pop():
                raise KeyboardInterrupt
            return super().pop(*arguments)

    is_coming = [False, True]
    named.set("inner", tmp_path)
    monkeypatch.setattr(os, "environ", Interrupting(os.environ))
    with pytest.raises(KeyboardInterrupt):
        named.restore()
    named.restore()

    assert variables() == ("outer", None)
