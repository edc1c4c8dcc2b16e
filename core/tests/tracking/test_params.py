"""Do nested configurations become params, with each value under a key that says where it is?"""

from __future__ import annotations

import dataclasses

import numpy
import pytest
from omegaconf import OmegaConf
from recorder import Recorder

from trackyard import start_run


@dataclasses.dataclass(slots=True)
class Database:
    password: str = "hunter2hunter2"
    host: str = "h"


@pytest.fixture
def log(project, caplog):
    """Give a function that logs params in a run and gives those that arrive, and warnings."""
    project.add_tracker("local", Recorder)

    def log(*params, call="log_params"):
        with start_run() as run:
            getattr(run, call)(*params)
        return dict(project.logged("params")), [record.message for record in caplog.records]

    return log


def test_nested_params_are_flattened_with_dots(log):
    params, warnings = log(
        {"opt": {"lr": 0.1, "betas": (0.9, 0.99), "none": {}}, "n": numpy.int64(3)}
    )

    assert params == {"opt.lr": 0.1, "opt.betas": "[0.9, 0.99]", "opt.none": "{}", "n": 3}
    assert warnings == []


def test_params_may_stay_nested_in_a_text(project, log):
    with (project.root / "trackyard.toml").open("a") as file:
        file.write('\n[params]\nnested = "text"\n')
    params, _ = log({"opt": {"lr": 0.1}, "db": Database()})

    assert params == {"opt": "{'lr': 0.1}", "db": "{'password': '***', 'host': 'h'}"}


def test_whole_arrays_are_params(log):
    params, _ = log({"weights": numpy.arange(2000)})

    assert params == {"weights": str(list(range(2000)))}


@pytest.mark.parametrize(
    "config",
    [
        Database(),
        OmegaConf.structured(Database()),
        {"password": "hunter2hunter2", "host": "h"},
    ],
    ids=lambda config: type(config).__name__,
)
def test_secret_of_a_configuration_is_hidden_and_named(log, config):
    params, warnings = log({"db": config})

    assert params == {"db.password": "***", "db.host": "h"}
    assert warnings == ["log_params: 'db.password' looks like a secret: its value is not kept"]


def test_value_that_omegaconf_lacks_is_named_and_left_out(log):
    params, (warning,) = log(OmegaConf.create({"a": 1, "b": "???"}))

    assert params == {"a": 1}
    assert "'b' is '???' and was left out" in warning


def test_two_values_of_one_key_are_named(log):
    params, (warning,) = log({"a": {"b": 1}, "a.b": 2})

    assert params == {"a.b": 2}
    assert "two params have the key 'a.b'" in warning


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("log_params", ({None: 1},)),
        ("log_param", (None, 1)),
        ("set_tag", (None, "x")),
        ("set_tags", ({None: "x"},)),
        ("log_metric", (None, 1)),
        ("log_metrics", ({None: 1},)),
    ],
)
def test_key_that_is_none_is_named_and_nothing_is_made_up(project, log, call, arguments):
    _, (warning,) = log(*arguments, call=call)

    assert "None" in warning
    assert all(not project.logged(kind) for kind in ("params", "metrics", "tags"))


@pytest.mark.parametrize("step", ["five", float("nan"), 2**70])
def test_step_that_is_none_is_named_once(log, step):
    _, (warning,) = log("loss", 1.0, step, call="log_metric")

    assert warning.startswith("step ")


def test_unknown_option_of_params_is_named(project, log):
    with (project.root / "trackyard.toml").open("a") as file:
        file.write('\n[params]\nnested = "deep"\n')
    with pytest.raises(Exception, match=r"params\.nested"):
        log({"a": 1})
