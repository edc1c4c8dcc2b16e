"""What does a project say of its store, in either form, in one file or in two?"""

from __future__ import annotations

from pathlib import Path

import pytest

from trackyard import ConfigError
from trackyard.project.configuration import find_project, users_file
from trackyard.project.storing import load_store_options, names_store, place_of_url


def said(project_text, users_text=""):
    Path("trackyard.toml").write_text(project_text)
    users_file().parent.mkdir(parents=True, exist_ok=True)
    users_file().write_text(users_text)
    return find_project()


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    users_file().unlink(missing_ok=True)


def test_a_url_alone_is_the_short_form_of_a_table():
    for text in ('store = "sqlite:///a.db"', '[store]\nurl = "sqlite:///a.db"'):
        project = said(text)
        assert load_store_options(project).url == "sqlite:///a.db"
        assert names_store(project)


def test_without_a_url_it_is_the_one_at_home():
    project = said('[store]\nend_after = "7d"')
    assert load_store_options(project).url is None
    assert load_store_options(project).end_after == "7d"
    assert not names_store(project)


@pytest.mark.parametrize("form", ['store = "sqlite:///a.db"', '[store]\nurl = "sqlite:///a.db"'])
def test_the_users_file_may_name_the_database_and_the_project_the_rest(form):
    project = said('[store]\nend_after = "7d"', form)
    options = load_store_options(project)
    assert (options.url, options.end_after) == ("sqlite:///a.db", "7d")
    assert place_of_url(project) == f"{users_file()}: store.url"
    assert names_store(project)


def test_the_projects_own_url_counts_before_the_users():
    project = said('store = "sqlite:///own.db"', '[store]\nurl = "sqlite:///a.db"\nend_after="7d"')
    options = load_store_options(project)
    assert (options.url, options.end_after) == ("sqlite:///own.db", "7d")
    assert project.place("store", "url").endswith("trackyard.toml: store.url")


def test_what_is_wrong_has_its_place():
    with pytest.raises(ConfigError, match=r"trackyard\.toml: store: must be a database URL or a"):
        load_store_options(said("store = 7"))
    with pytest.raises(
        ConfigError, match=r"trackyard\.toml: store: unknown key 'urll'; did you mean 'url'"
    ):
        load_store_options(said('[store]\nurll = "x"'))
