"""Is a move of late runs whole and single wherever `kill -9` meets it?

All tries are forked from one process, which has imported MLflow and opened nothing: as a program
this file is that process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

# What of MLflow's stores writes, behind each of which a move is killed.
WRITING = (
    *("create_experiment", "create_run", "update_run_info", "log_metric", "log_param", "set_tag"),
    *("log_batch", "log_inputs", "log_outputs", "create_logged_model", "finalize_logged_model"),
    *("set_logged_model_tags", "log_logged_model_params", "start_trace", "log_spans"),
    *("create_registered_model", "create_model_version", "set_registered_model_alias"),
)


@pytest.mark.long(reason="a move is killed behind each of its writes")
def test_a_move_that_is_killed_anywhere_is_whole_and_single_afterwards(tmp_path, empty_store):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "TRACKYARD_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path), str(empty_store)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    from moved_things import WHOLE  # it imports MLflow

    whole = json.loads(json.dumps(WHOLE))
    wrong = {
        one["killed behind"]: {k: v for k, v in one["there"].items() if v != whole.get(k)}
        for one in found
        if one["there"] != whole or one["counts"] != found[-1]["counts"]
    }

    assert done.returncode == 0, done.stderr[-3000:]
    assert len(found) > 20
    assert wrong == {}


def main(root: Path, empty_store: Path) -> None:
    """Kill moves behind their first write, their second, and so on until one is through."""
    import mlflow
    from moved_things import make_everything, what_is_there

    from trackyard import Run
    from trackyard_mlflow import MlflowTracker

    def run_in(folder: Path) -> tuple[MlflowTracker, Run]:
        os.environ["TRACKYARD_HOME"] = str(folder / "home")
        run = Run("0" * 31 + "1", "made", "made", 1_700_000_000 * 10**9, folder / "run")
        return MlflowTracker(), run

    def prepare() -> None:
        tracker, run = run_in(root / "late")
        os.chdir(root)
        with tracker.tracker_activate_run(run, None, is_starting=False):
            make_everything()

    def move(folder: Path, number: int | None) -> None:
        tracker, run = run_in(folder)
        if number is not None:
            kill_behind(number)
        tracker.tracker_start_run(run)
        tracker.tracker_end_run(run)

    def look(folder: Path, number: int) -> None:
        uri = run_in(folder)[0].tracking_uri
        there = what_is_there(uri, "made")
        client = mlflow.MlflowClient(uri, uri)
        places = [one.experiment_id for one in client.search_experiments()]
        runs = client.search_runs(places)
        counts = {
            "runs": len(runs),
            "points": sum(
                len(client.get_metric_history(run.info.run_id, key))
                for run in runs
                for key in run.data.metrics
            ),
            "places": len(places),
        }
        print(json.dumps({"killed behind": number, "there": there, "counts": counts}), flush=True)

    for name in ("late/home", "late/run"):
        (root / name).mkdir(parents=True)
    shutil.copyfile(empty_store, root / "late/home/mlflow.db")
    assert forked(prepare) == 0
    number, status = 0, signal.SIGKILL
    while status:
        number += 1
        folder = root / str(number)
        shutil.copytree(root / "late", folder)
        status = forked(lambda: move(folder, number))
        assert status in (0, signal.SIGKILL), status
        assert forked(lambda: move(folder, None)) == 0
        assert forked(lambda: look(folder, number)) == 0


def forked(work: Callable[[], object]) -> int:
    """Run something in a forked child; give 0, or the signal that ended it, or -1."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return -status


def kill_behind(number: int) -> None:
    """Have this process killed when so many writes have come back, of MLflow's or of our notes."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service.client import TrackingServiceClient

    from trackyard_mlflow import backend, moving

    left = [number]

    def counted(owner: Any, name: str) -> None:
        original = getattr(owner, name, None)
        if original is None:
            return

        @wraps(original)
        def call(*arguments: Any, **keywords: Any) -> Any:
            result = original(*arguments, **keywords)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, call)

    for store in (SqlAlchemyStore, Registry):
        for name in WRITING:
            counted(store, name)
    for name in ("log_artifact", "log_artifacts", "log_model_artifacts"):
        counted(TrackingServiceClient, name)
    counted(backend, "write_ids")
    counted(moving.Ledger, "write")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
