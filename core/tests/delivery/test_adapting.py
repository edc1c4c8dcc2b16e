"""Is a record fitted to a backend's limits without losing what was logged?"""

from __future__ import annotations

import contextlib
import math
import re
import string
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from trackyard import Artifact, Capabilities, Metric, Param, Tag
from trackyard.delivery.adapting import Adapter, fitted_name, original_key, original_name, sent_name

PATTERNS = {
    "mlflow": r"[\w/. \-]+(?<!/)",
    "word": r"[A-Za-z0-9_]+",
    "no slash at the ends": r"[^/](?:.*[^/])?",
    "anything": r"(?s).+",
}


@pytest.fixture(autouse=True, scope="module")
def _elsewhere(tmp_path_factory):
    """Artifacts that get another name are written to a folder, which is not to be the checkout."""
    with contextlib.chdir(tmp_path_factory.mktemp("adapting")):
        yield


def adapter(folder=Path("nowhere"), **limits):
    return Adapter(Capabilities(**limits), folder)


def key(text, **limits):
    (record,) = adapter(**limits).adapt(Metric(text, 1.0, None, 0))
    return record.key


# Keys


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@given(text=st.text(max_size=30).filter(lambda text: "_u" not in text))
def test_renamed_key_fits_and_can_be_undone(pattern, text):
    renamed = key(text, key_pattern=pattern)

    assert re.fullmatch(pattern, renamed)
    assert original_key(renamed) == text


@pytest.mark.parametrize("text", ["a_u2f_b", "_u5f_", "a_u/", "_u_u2f_u", "_", "__u", "_u", "u2f_"])
def test_key_that_looks_renamed_can_be_undone(text):
    assert original_key(key(text, key_pattern=PATTERNS["word"])) == text


@given(st.lists(st.text(max_size=8), unique=True, max_size=20))
def test_two_keys_never_become_one(texts):
    one = adapter(key_pattern=PATTERNS["word"])
    renamed = [one.adapt(Tag(text, ""))[0].key for text in texts]

    assert len(set(renamed)) == len(texts)


@given(st.lists(st.text(alphabet="ab/_u25f%#?:\t\\.", max_size=8), unique=True, max_size=20))
def test_names_of_artifacts_are_renamed_reversibly_and_never_become_one(texts):
    names = {sent_name(text) for text in texts}
    fitted = {name: fitted_name(name, r"[^#?%:\t]+") for name in names}

    assert len(set(fitted.values())) == len(names)
    assert {original_name(text, r"[^#?%:\t]+") for text in fitted.values()} == names


def test_name_of_an_artifact_that_arrives_as_it_is_is_left_alone(tmp_path):
    one = adapter(tmp_path, artifact_pattern=r"[^#]+")
    (plain,) = one.adapt(Artifact("a/fold 1.txt", tmp_path / "fold 1.txt", "file"))
    assert (plain.name, one.changes) == ("a/fold 1.txt", {})

    (tmp_path / "fold #1.txt").write_text("one")
    (renamed,) = one.adapt(Artifact("a/fold #1.txt", tmp_path / "fold #1.txt", "file"))
    assert (renamed.name, renamed.path.name) == ("a/fold _u23_1.txt", "fold _u23_1.txt")
    assert renamed.path.read_text() == "one"
    assert one.changes == {"artifacts were renamed": 1}
    assert fitted_name("_u23_", Capabilities().artifact_pattern) == "_u23_"


@given(st.text(alphabet=string.ascii_letters + string.digits + "/. -", min_size=1))
def test_key_that_fits_is_left_alone(text):
    assert key(text, key_pattern=r"[\w/. \-]+") == text


def test_long_keys_are_shortened_and_stay_apart():
    keys = [f"{'a' * 300}{number}" for number in range(100)]
    one = adapter(key_length=50)
    shortened = [one.adapt(Metric(text, 1.0, None, 0))[0].key for text in keys]

    assert max(map(len, shortened)) <= 50
    assert len(set(shortened)) == 100


@given(st.text(max_size=200), st.integers(14, 60))
def test_key_is_never_too_long(text, length):
    assert len(key(text, key_pattern=PATTERNS["word"], key_length=length)) <= length


# Params and tags


@pytest.mark.parametrize("kind", [Param, Tag])
@pytest.mark.parametrize("length", [1, 10, 500])
def test_long_text_is_shortened_and_kept_whole_as_an_artifact(tmp_path, kind, length):
    text = "x" * 5000
    one = adapter(tmp_path, param_length=length, tag_length=length)
    shortened, artifact = one.adapt(kind("model/config", text))

    assert len(shortened.value) == length
    assert shortened.value.endswith("…")
    assert artifact.path.read_text() == text
    assert artifact.name == f"trackyard/{kind.__name__.lower()}s/model_config.txt"
    assert artifact.path.name == "model_config.txt"


@pytest.mark.parametrize("value", ["x" * 10, 5, 0.5, True, None])
def test_param_that_fits_is_left_alone(value):
    record = Param("a", value)

    assert adapter(param_length=10).adapt(record) == [record]


def test_lone_surrogates_are_escaped():
    one = adapter()

    assert one.adapt(Param("a", "\ud800")) == [Param("a", "\\ud800")]
    assert one.adapt(Tag("a", "\ud800")) == [Tag("a", "\\ud800")]


@pytest.mark.parametrize("text", ["é" * 300, "\U0001f600" * 300, "..", "", "a/b\0c"])
def test_long_param_of_any_key_is_kept_whole(tmp_path, text):
    one = adapter(tmp_path, param_length=10)
    _, artifact = one.adapt(Param(text, "x" * 100))

    assert artifact.path.read_text() == "x" * 100


# Metrics


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_dropped_where_it_has_to_be(value):
    metric = Metric("a", value, 1, 0)
    (kept,) = adapter().adapt(metric)

    assert adapter(not_a_number="drop").adapt(metric) == []
    assert kept.value is value


@pytest.mark.parametrize(
    ("step", "whole"),
    [(None, None), (3, 3), (2.7, 2), (-0.5, 0), (2**70, 2**63 - 1), (-(2**70), -(2**63))],
)
def test_step_is_a_whole_number_where_it_has_to_be(step, whole):
    (metric,) = adapter(step_rule="integer").adapt(Metric("a", 1.0, step, 0))

    assert (metric.step, type(metric.step)) == (whole, type(whole))


@pytest.mark.parametrize(
    ("step", "kept"),
    [(None, None), (3, 3), (2.7, 2.7), (2**53 + 1, float(2**53)), (10**400, sys.float_info.max)],
)
def test_step_is_a_float_where_it_has_to_be(step, kept):
    one = adapter(step_rule="float")
    (metric,) = one.adapt(Metric("a", 1.0, step, 0))

    assert (metric.step, type(metric.step)) == (kept, type(kept))
    assert bool(one.changes) == (step != kept)


def test_step_that_goes_backwards_is_left_out_where_it_has_to_be():
    one = adapter(step_rule="increasing")
    steps = [one.adapt(Metric("a", 1.0, step, 0))[0].step for step in (1, 5, 5, 3, None, 6)]

    assert steps == [1, 5, 5, None, None, 6]


def test_metric_that_fits_is_left_alone():
    metric = Metric("a", 1.0, 0.5, 7)

    assert adapter().adapt(metric) == [metric]


# Artifacts


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b.txt", "a/b.txt"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("..\\..\\a.txt", "a.txt"),
        ("a/./b/../c.txt", "a/b/c.txt"),
        ("a//b.txt", "a/b.txt"),
        ("a\0b.txt", "a/b.txt"),
        ("", "unnamed"),
        ("..", "unnamed"),
        ("\ud800.txt", "ud800.txt"),
    ],
)
def test_artifact_stays_inside_its_run(name, safe):
    (artifact,) = adapter().adapt(Artifact(name, Path("file"), "file"))

    assert artifact.name == safe


@given(st.text())
def test_no_artifact_leaves_its_run(name):
    (artifact,) = adapter().adapt(Artifact(name, Path("file"), "file"))
    parts = artifact.name.split("/")

    assert not {"", ".", ".."} & set(parts)
    artifact.name.encode()


@pytest.mark.parametrize(
    ("kinds", "kind", "media_type", "shown"),
    [
        ({"file", "figure"}, "figure", "image/png", "figure"),
        ({"file", "image"}, "figure", "image/png", "image"),
        ({"file", "image"}, "figure", "application/pdf", "file"),
        ({"file"}, "figure", "image/png", "file"),
        ({"file"}, "table", "application/json", "file"),
        ({"file", "image"}, "html", "text/html", "file"),
        ({"file", "image"}, "video", "image/gif", "image"),
        ({"file", "image"}, "video", "video/mp4", "file"),
        ({"file", "histogram"}, "histogram", "application/json", "histogram"),
        ({"file", "text"}, "model", "application/json", "file"),
    ],
)
def test_artifact_is_shown_as_the_backend_can(kinds, kind, media_type, shown):
    one = adapter(kinds=frozenset(kinds))
    (artifact,) = one.adapt(Artifact("a.png", Path("a.png"), kind, media_type))

    assert artifact.kind == shown


# What was changed


def test_every_change_is_counted(tmp_path):
    one = adapter(
        tmp_path,
        key_pattern=r"\w+",
        param_length=5,
        tag_length=5,
        step_rule="integer",
        not_a_number="drop",
        kinds=frozenset({"file"}),
    )
    for record in (
        Metric("a/b", 1.0, 0.5, 0),
        Metric("a/b", math.nan, 0, 0),
        Param("p", "x" * 10),
        Tag("t", "x" * 10),
        Artifact("../a.png", Path("a.png"), "image"),
    ):
        one.adapt(record)

    assert set(one.changes.values()) == {1}
    assert len(one.changes) == 7


def test_what_fits_changes_nothing():
    one = adapter()
    for record in (
        Metric("a", 1.0, 1, 0),
        Param("p", "x"),
        Tag("t", "x"),
        Artifact("a", Path("a"), "file"),
    ):
        one.adapt(record)

    assert not one.changes


def fitted_key(text, **limits):
    (record,) = Adapter(Capabilities(**limits), Path("nowhere")).adapt(Metric(text, 1.0, None, 0))
    return record.key


@pytest.mark.parametrize("text", ["_u0/", "_uab!", "_empty_", "_", "a_u/"])
def test_key_that_begins_like_a_renamed_one_can_be_undone(text):
    assert original_key(fitted_key(text, key_pattern=r"[A-Za-z0-9_]+")) == text


def test_empty_key_and_the_key_empty_stay_apart():
    a = Adapter(Capabilities(key_pattern=r"\w+"), Path("nowhere"))
    assert a.adapt(Tag("", ""))[0].key != a.adapt(Tag("_empty_", ""))[0].key


@pytest.mark.parametrize("text", ["\ud800", "漢" * 300])
def test_long_param_of_an_odd_key_is_kept_whole(tmp_path, text):
    a = Adapter(Capabilities(param_length=10), tmp_path)
    _, artifact = a.adapt(Param(text, "x" * 100))
    assert artifact.path.read_text() == "x" * 100


def test_whole_text_is_sent_in_a_kind_that_the_backend_has(tmp_path):
    a = Adapter(Capabilities(param_length=10, kinds=frozenset({"file"})), tmp_path)
    _, artifact = a.adapt(Param("a", "x" * 100))
    assert artifact.kind == "file"
