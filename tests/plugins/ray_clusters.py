"""How do tests have a cluster of Ray: one at a time on this machine, shared by a module?"""

from __future__ import annotations

import fcntl
import gc
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from trackyard_ray.surroundings import shut_down

Started = TypeVar("Started")


@contextmanager
def only_cluster() -> Iterator[None]:
    """Wait until no other process of these tests has a cluster: two that start at once fail."""
    with (Path(tempfile.gettempdir()) / "trackyard-tests-ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.MonkeyPatch.context() as patch:
            # Beside other work a worker at Ray's niceness, 15, gets nothing done for seconds: it
            # is killed before it has heard that it should stop.
            patch.setenv("RAY_worker_niceness", "0")
            yield


@contextmanager
def cluster(*, num_cpus: int, modules: Path | None = None) -> Iterator[str]:
    """Start a cluster, inside `only_cluster`; give its address.

    Ray makes it ask for a token, and sets `RAY_AUTH_MODE` in this process: a script that is to
    connect to the cluster needs that variable, too. It stays: Ray remembers it in this process,
    which would take no answer from a later cluster without tokens.

    Args:
        num_cpus: How many tasks it runs at once.
        modules: A folder of modules that workers find, beside what this process finds.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # Ray reads it when it is imported
        with pytest.MonkeyPatch.context() as path:
            found = filter(None, [*sys.path, str(modules or "")])
            path.setenv("PYTHONPATH", os.pathsep.join(found))
            address = _started(num_cpus)
        yield address
        _end()


def _started(num_cpus: int) -> str:
    import ray

    def start() -> str:
        context = ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
        )
        return str(context.address_info["gcs_address"])

    return up_in_time(start, _end)


def up_in_time(start: Callable[[], Started], end: Callable[[], None]) -> Started:
    """Start a cluster, again where a busy machine does not have it up within Ray's 30 seconds."""
    for _ in range(3):
        with suppress(Exception):
            return start()
        end()
    pytest.fail("no cluster has started")


def _end() -> None:
    """End the cluster, whose processes Ray leaves to be found by the garbage collector.

    Those of one that was not up in time are found later than here: they are asked now whether they
    have ended, which nobody has told Python.
    """
    shut_down(is_own_cluster=True)
    for found in gc.get_objects():
        if issubclass(type(found), subprocess.Popen):
            found.poll()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
