"""Does each flavor's page say what becomes of every call by which its SDK logs?

The names are the SDK's own: a release that has a new one fails here, until the page, and where it
has a portable form the flavor, know it.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable

import pytest
from captured_calls import documented_calls

# They log nothing, or raise where there is no server.
OTHERS = {
    "mlflow": set(),
    "comet": {"log_artifact", "register_model", "create_symlink", "log_optimization"}
    | {"log_notebook", "set_cmd_args", "set_offline_zip_uploader", "register_callback"}
    | {"log_tensorflow_folder"},
    "neptune": {"fetch", "download", "get_", "exists", "start", "stop", "sync", "wait", "ping"}
    | {"print_structure", "list_fileset_files", "lock", "set_attribute", "log", "define"},
    "wandb": {"display", "finish", "restore", "status", "to_html", "use_", "upsert_artifact"}
    | {"write_logs", "mark_preempting", "pin_config_keys", "unwatch", "Classes", "Graph"}
    | {"JoinedTable", "EvalTable", "define_metric"},
    "trackio": {"finish", "use_artifact"},
    "tensorboard": set(),
}


def _names(holder: object, wanted: Callable[[str, object], bool]) -> set[str]:
    every = ((name, getattr(holder, name, None)) for name in dir(holder) if name[0] != "_")
    return {name for name, value in every if callable(value) and wanted(name, value)}


def _beginning(*starts: str) -> Callable[[str, object], bool]:
    return lambda name, _: name.startswith(starts)


def _of_class(parent: type) -> Callable[[str, object], bool]:
    return lambda _, value: inspect.isclass(value) and issubclass(value, parent)


def _all(_: str, __: object) -> bool:
    return True


def of_mlflow() -> set[str]:
    import mlflow

    logging = _beginning("log_", "set_tag")
    return _names(mlflow, logging) | _names(mlflow.MlflowClient, logging)


def of_comet() -> set[str]:
    import comet_ml

    return _names(comet_ml.OfflineExperiment, _beginning("log_", "add_", "set_", "send_", "reg"))


def of_neptune() -> set[str]:
    import neptune
    from neptune.handler import Handler

    return _names(Handler, _all) | _names(neptune.Run, _all)


def of_wandb() -> set[str]:
    import wandb
    from wandb.sdk.data_types.base_types.wb_value import WBValue

    return _names(wandb.Run, _all) | _names(wandb, _of_class(WBValue))


def of_trackio() -> set[str]:
    import trackio

    media = importlib.import_module("trackio.media").TrackioMedia
    calls = _names(trackio.Run, _all) | _names(trackio, _beginning("log", "save", "alert"))
    shown = {"TrackioAudio", "TrackioHtml", "TrackioImage", "TrackioObject3D", "TrackioVideo"}
    return (calls | _names(trackio, _of_class(media))) - shown


def of_tensorboard() -> set[str]:
    from tensorboardX import SummaryWriter

    return _names(SummaryWriter, _beginning("add_"))


def _last(calls: Iterable[str]) -> set[str]:
    """Give the names of calls without what is before and behind them."""
    return {re.sub(r"\(.*", "", call).rpartition(".")[2] for call in calls}


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", [of_mlflow, of_comet, of_neptune, of_wandb, of_trackio, of_tensorboard]
)
def test_the_page_says_what_becomes_of_every_call(names):
    sdk = names.__name__.removeprefix("of_")
    known = _last(documented_calls(sdk))
    others = tuple(OTHERS[sdk])
    unsaid = {name for name in names() - known if not name.startswith(others)}

    assert unsaid == set(), f"docs/flavors/{sdk}.md does not say what becomes of these"
