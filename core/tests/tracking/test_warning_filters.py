"""Do values arrive, and rows stay whole, where the user's filters make errors of warnings?"""

from __future__ import annotations

import io
import json
import warnings

import pandas
import pyarrow.parquet
import pytest
from recorder import Recorder

from trackyard import Client, start_run

DAYS = pandas.date_range("2024-01-01", periods=2, tz="Europe/Berlin")


class Warns:
    """A value whose fields, text and files come with a warning."""

    def keys(self):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return ["a"]

    def __getitem__(self, key):
        return 1

    def savefig(self, path):
        warnings.warn("a glyph is missing", UserWarning, stacklevel=1)
        path.write_bytes(b"drawn")

    def save_pretrained(self, folder):
        (folder / "weights").write_bytes(b"w")
        warnings.warn("old", FutureWarning, stacklevel=1)


@pytest.fixture
def logged(project, caplog):
    """Give a function that makes one call where warnings are errors, and gives the run."""
    project.add_tracker("local", Recorder)

    def logged(call, *arguments):
        with warnings.catch_warnings(), start_run() as run:
            warnings.simplefilter("error")
            getattr(run, call)(*arguments)
            with pytest.raises(UserWarning, match="still an error"):
                warnings.warn("still an error", stacklevel=1)
        assert caplog.messages == []
        return Client().get_run(run.id)

    return logged


def content(run):
    (name,) = (name for name in run.artifacts if not name.endswith("trackyard-model.json"))
    return run.artifacts[name].read_bytes()


@pytest.mark.filterwarnings("default")
def test_value_that_warns_arrives_and_is_shown_its_warning(logged):
    frame = pandas.DataFrame({"at": DAYS, "n": [1, 2]})
    for table in (frame, frame.set_index("at"), frame["at"]):
        found = pyarrow.parquet.read_table(
            io.BytesIO(content(logged("log_table", table, "a.parquet")))
        )
        assert [day.isoformat() for day in found["at"].to_pylist()][:1] == [DAYS[0].isoformat()]
    with pytest.warns(UserWarning, match="a glyph is missing"):
        assert content(logged("log_figure", Warns(), "a.png")) == b"drawn"
    assert content(logged("log_model", Warns(), "a")) == b"w"
    assert json.loads(content(logged("log_dict", {"in": Warns()}, "a"))) == {"in": {"a": 1}}
    assert json.loads(content(logged("log_table", [Warns()], "a")))["columns"] == ["a"]
    assert logged("log_params", Warns()).params == {"a": 1}
    assert logged("log_params", {"in": Warns()}).params == {"in.a": 1}
    assert logged("log_metrics", {"a": NumberThatWarns(), "b": 2}).metrics["a"].last == 1.5
    assert logged("set_tag", "a", Warns()).tags["a"] == "{'a': 1}"


class NumberThatWarns:
    """A number that warns."""

    def __float__(self):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return 1.5


def test_generator_whose_warning_is_an_error_is_no_shorter_table(project, caplog):
    project.add_tracker("local", Recorder)

    def rows():
        yield {"a": 1}
        warnings.warn("the second row is old", DeprecationWarning, stacklevel=1)
        yield {"a": 2}

    with warnings.catch_warnings(), start_run() as run:
        warnings.simplefilter("error")
        run.log_table(rows(), "a")
    assert not list(Client().get_run(run.id).artifacts)
    (message,) = caplog.messages
    assert "its rows end with DeprecationWarning: the second row is old" in message
