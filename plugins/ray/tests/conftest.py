"""What all tests of Ray share: one cluster at a time on this machine."""

from __future__ import annotations

import fcntl
import gc
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trackyard_ray.surroundings import shut_down

# Which checks of the suite are `slow`: of an own cluster what its start and its end change, of a
# shared one each kind of outcome once. The rest is `long`.
SLOW = {
    "TestOwnCluster": (
        "test_making_one_starts_nothing",
        "test_nothing_of_the_driver_is_changed",
        "test_no_process_is_left",
        "test_ctrl_c_stops_the_steps",
    ),
    "TestSharedCluster": (
        "test_no_check",
        "test_it_",
        "test_outputs_come_back",
        "test_two_steps_run_at_once",
        "test_exception_comes_back[of its own]",
        "test_death_is_a_crash_of_that_step_alone[exit 0]",
        "test_steps_leave_nothing_to_the_next_one",
        "test_step_that_goes_on_after_ctrl_c_is_ended",
    ),
}
MODULES = Path(__file__).parents[3] / "core" / "tests" / "modules"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the checks of the suite."""
    checks = SLOW.get(getattr(getattr(item, "cls", None), "__name__", ""))
    if checks is not None:
        rest = pytest.mark.long(reason="all checks, each with a script that starts workers of Ray")
        item.add_marker(pytest.mark.slow if item.name.startswith(checks) else rest)


@pytest.fixture(scope="module")
def only_cluster() -> Iterator[None]:
    """Wait until no other process of these tests has a cluster: two that start at once fail."""
    with (Path(tempfile.gettempdir()) / "trackyard-tests-ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.MonkeyPatch.context() as patch:
            # Beside other work a worker at Ray's niceness, 15, gets nothing done for seconds: it
            # is killed before it has heard that it should stop.
            patch.setenv("RAY_worker_niceness", "0")
            yield


@pytest.fixture(scope="module")
def cluster(only_cluster: None) -> Iterator[str]:
    """Start a cluster of three workers for all tests of a module; give its address.

    Ray makes it ask for a token, and sets `RAY_AUTH_MODE` in this process: a script that is to
    connect to the cluster needs that variable, too. It stays: Ray remembers it in this process,
    which would take no answer from a later cluster without tokens.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # Ray reads it when it is imported
        with pytest.MonkeyPatch.context() as path:  # workers find what this process finds
            path.setenv("PYTHONPATH", os.pathsep.join([*filter(None, sys.path), str(MODULES)]))
            address = _started()
        yield address
        _end()


def _started() -> str:
    import ray

    for _ in range(3):  # a busy machine may not have it up within Ray's own 30 seconds
        with suppress(Exception):
            context = ray.init(
                address="local",
                num_cpus=3,
                include_dashboard=False,
                configure_logging=False,
                log_to_driver=False,
            )
            return str(context.address_info["gcs_address"])
        _end()
    pytest.fail("no cluster has started")


def _end() -> None:
    """End the cluster, whose processes Ray leaves to be found by the garbage collector."""
    shut_down(is_own_cluster=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
