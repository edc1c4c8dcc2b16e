"""What do the bodies of one SDK make of its backend, alone or in steps? In a process of its own.

python parity_program.py SDK alone|thread|process|server|late FOLDER EMPTY_STORE BODY...

Where steps have an MLflow server, the variable SERVER says where; `late` ones do not wait for it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import parity_others  # noqa: F401 - it fills the table
from parity_backends import READERS, of_mlflow
from parity_bodies import Body, bodies_of

_STEP = """[experiment_trackers.own]
flavor = "{sdk}"
start_timeout = {patience}
flush_timeout = 60
{fields}
[stacks.default]
experiment_trackers = ["own"]
"""
_ON_SERVER = 'tracking_uri = "{server}"\nexperiment_name = "of-the-body@{folder}"'
_FIELDS = {
    "mlflow": 'tracking_uri = "sqlite:///{folder}/mlflow.db"\nexperiment_name = "of-the-body"',
    "wandb": 'mode = "offline"\nproject = "mine"\nentity = "acme"',
    "comet": 'mode = "offline"\nproject = "mine"',
    "neptune": 'mode = "offline"\nproject = "acme/mine"',
    "trackio": 'project = "mine"',
}


def main(sdk: str, way: str, root: Path, empty_store: Path, names: list[str]) -> None:
    """Run bodies, and write what came of them."""
    os.environ |= {"WANDB_MODE": "offline", "NEPTUNE_MODE": "offline", "COMET_START_ONLINE": "0"}
    os.environ |= {"NEPTUNE_PROJECT": "acme/mine", "TRACKYARD_PROGRESS": "0"}
    isolation = "thread" if way == "thread" else "process"
    os.environ |= {"TRACKYARD_ISOLATION": isolation, "TRACKYARD_DISABLE_PLUGINS": "system-metrics"}
    found = {}
    for body in [body for body in bodies_of(sdk) if body.name in names]:
        folder = root / body.name
        folder.mkdir(parents=True)
        if sdk == "mlflow":
            shutil.copyfile(empty_store, folder / "mlflow.db")
        with _in(folder, body, is_alone=way == "alone"):
            found[body.name] = _came_of(body, folder, way)
    (root / "found.json").write_text(json.dumps(found), encoding="utf-8")


@contextmanager
def _in(folder: Path, body: Body, *, is_alone: bool) -> Iterator[None]:
    before = dict(os.environ)
    os.chdir(folder)
    os.environ |= body.variables
    home = folder / "home"
    os.environ |= {"WANDB_DATA_DIR": str(home), "COMET_OFFLINE_DIRECTORY": str(folder)}
    try:
        if is_alone and body.sdk == "mlflow":
            import mlflow

            mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
            mlflow.set_experiment("of-the-body")
        if is_alone and body.sdk == "trackio":
            _move_trackio(folder)
        yield
    finally:
        _end()
        os.environ.clear()
        os.environ |= before


def _move_trackio(folder: Path) -> None:
    """Have Trackio, which looks once, write into a folder."""
    import trackio.artifact
    import trackio.sqlite_storage  # noqa: F401

    places = {"TRACKIO_DIR": folder / "trackio", "MEDIA_DIR": folder / "trackio/media"}
    places["ARTIFACTS_DIR"] = folder / "trackio/artifacts"
    for module in [m for name, m in sys.modules.items() if name.partition(".")[0] == "trackio"]:
        for name, place in places.items():
            if isinstance(vars(module).get(name), Path):
                setattr(module, name, place)


def _came_of(body: Body, folder: Path, way: str) -> dict[str, Any]:
    answers: list[Any] = []
    error = ""
    server = os.environ["SERVER"] if way in ("server", "late") else ""
    try:
        if way == "alone":
            answers.append(body.code())
            _end()
        else:
            fields = _FIELDS.get(body.sdk, "").format(folder=folder)
            if server:
                place = f"{folder.parent.parent.name}-{folder.name}"
                fields = _ON_SERVER.format(folder=place, server=server)
            patience = 0 if way == "late" else 60
            text = _STEP.format(sdk=body.sdk, fields=fields, patience=patience)
            (folder / "trackyard.toml").write_text(text, encoding="utf-8")
            _run_step(body, answers)
        runs = of_mlflow(folder, server) if server else READERS[body.sdk](folder)
    except Exception:
        runs, error = [], traceback.format_exc()
    return {"answers": answers, "runs": runs, "error": error}


def _end() -> None:
    """Have SDKs end what a process that ends would end: runs, and the look where to write."""
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].end_run()
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()


def _run_step(body: Body, answers: list[Any]) -> None:
    from trackyard import Client, pipeline, step

    def code() -> None:
        answers.append(body.code())

    @pipeline
    def of_the_body() -> None:
        step(code, name=body.name, experiment_tracker="own")()

    run = of_the_body()
    (tracked,) = run.steps.values()
    statuses = [child.status for child in Client().get_run(tracked.id).children]
    assert answers, tracked.error
    assert "running" not in (run.status, *statuses), statuses


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
