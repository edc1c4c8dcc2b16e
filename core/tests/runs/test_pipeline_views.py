"""Does one see what a run is, in a program, on a line and in a notebook?"""

from __future__ import annotations

import copy
import pickle

import pytest

from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.runs.pipeline_views import MetadataValue, Named, PipelineRun
from trackyard.store import PipelineRunRow, StepRunRow, Store

SECOND = 10**9


@pytest.fixture
def run(tmp_path):
    """A pipeline run with a step of two attempts and one that was skipped."""
    store = Store.in_folder(tmp_path / "home")
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    stored = artifacts.save("run/output", [1, 2])
    row = PipelineRunRow("a" * 32, "run <1>", "training", "default", "failed", SECOND, 5 * SECOND)
    store.add_pipeline_run(row)
    output = {name: getattr(stored, name) for name in ("uri", "materializer", "size", "sha256")}
    url = "https://tracker.test/?a=1&b=<2>"
    first = {"started_at": SECOND, "ended_at": 2 * SECOND, "error": "ValueError: odd"}
    second = {
        "started_at": 2 * SECOND,
        "ended_at": 4_500_000_000,
        "outputs": {"output": output},
        "metadata": {"experiment_tracker_url": url},
        "metrics": {"loss": 0.5},
    }
    store.add_step_run(StepRunRow("1" * 32, row.id, "train", 1, 0, "failed", **first))
    store.add_step_run(StepRunRow("2" * 32, row.id, "train", 2, 0, "finished", **second))
    store.add_step_run(StepRunRow("3" * 32, row.id, "<b>", 1, 1, "skipped"))
    yield PipelineRun(row, store, artifacts)
    store.close()


# Things by name


def test_thing_that_is_not_there_is_answered_with_the_nearest_name():
    steps = Named("step", {"train": 1, "evaluate": 2})

    with pytest.raises(KeyError) as caught:
        steps["trian"]
    assert caught.value.args == ("no step 'trian'; did you mean 'train'?",)


def test_thing_that_is_not_there_is_answered_with_all_names():
    with pytest.raises(KeyError) as caught:
        Named("output", {"b": 1, "a": 2})["zebra"]
    assert caught.value.args == ("no output 'zebra'; there are 'a', 'b'",)
    with pytest.raises(KeyError, match="there are none"):
        Named("output", {})[5]


def test_named_things_are_a_dict():
    named = Named("step", {"a": 1})

    assert named == {"a": 1}
    assert named.get("zebra") is None
    assert "zebra" not in named
    assert pickle.loads(pickle.dumps(named)) == copy.deepcopy(named) == named


def test_metadata_is_a_text_with_a_value():
    value = MetadataValue("https://a")

    assert value == value.value == "https://a"
    assert isinstance(value, str)
    assert type(value.value) is str
    assert f"{value}" == "https://a"
    assert pickle.loads(pickle.dumps(value)) == value


# Runs


def test_run_tells_what_was_recorded(run):
    assert (run.name, run.pipeline, run.stack, run.status) == (
        "run <1>",
        "training",
        "default",
        "failed",
    )
    assert run.duration == 4.0
    assert run.started_at.isoformat() == "1970-01-01T00:00:01+00:00"
    assert list(run.steps) == ["train", "<b>"]
    assert repr(run) == "<PipelineRun run <1> failed>"


def test_step_is_its_latest_attempt(run):
    step = run.steps["train"]

    assert (step.status, step.attempt, step.error) == ("finished", 2, None)
    assert [(s.attempt, s.status, s.error) for s in step.attempts] == [
        (1, "failed", "ValueError: odd"),
        (2, "finished", None),
    ]
    assert step.duration == 2.5
    assert step.metrics["loss"] == 0.5
    assert step.url == step.run_metadata["experiment_tracker_url"].value
    assert repr(step) == "<StepRun train finished https://tracker.test/?a=1&b=<2>>"


def test_skipped_step_has_neither_times_nor_url(run):
    step = run.steps["<b>"]

    assert (step.status, step.started_at, step.ended_at, step.duration) == (
        "skipped",
        None,
        None,
        None,
    )
    assert step.url is None
    assert repr(step) == "<StepRun <b> skipped>"


def test_output_is_loaded_when_it_is_asked_for(run):
    output = run.steps["train"].outputs["output"]

    assert output.load() == [1, 2]
    assert output.uri.endswith("run/output.json")
    assert repr(output) == f"<Output output (json) {output.uri}>"


def test_what_is_not_there_is_named(run):
    with pytest.raises(KeyError, match="no step 'trian'; did you mean 'train'"):
        run.steps["trian"]
    with pytest.raises(KeyError, match="no output 'model'; there are 'output'"):
        run.steps["train"].outputs["model"]
    with pytest.raises(KeyError, match="no metadata 'url'"):
        run.steps["train"].run_metadata["url"]
    with pytest.raises(KeyError, match="no metric 'los'; did you mean 'loss'"):
        run.steps["train"].metrics["los"]


def test_notebook_shows_a_table_with_links(run):
    text = run._repr_html_()

    assert "<p>run &lt;1&gt;: failed</p>" in text
    assert "<td>&lt;b&gt;</td><td>skipped</td><td></td>" in text
    assert ">train</a></td><td>finished</td><td>2.5</td>" in text
    assert '<a href="https://tracker.test/?a=1&amp;b=&lt;2&gt;">train</a>' in text
    assert "<b>" not in text


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,a", 'https://a"onclick="b'])
def test_notebook_makes_no_link_of_what_could_run(run, url):
    step = run.steps["train"]
    step.run_metadata["experiment_tracker_url"] = MetadataValue(url)
    text = step._repr_html_()

    assert 'href="javascript' not in text
    assert 'href="data' not in text
    assert '"onclick' not in text
