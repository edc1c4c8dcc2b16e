"""What does Ray change in the driver's process, and how is it undone?"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract import GRACE, own_environment, process_values

_SERVERS = ("raylet", "gcs_server")


@attrs.frozen
class Surroundings:
    """What Ray changes in the driver's process, from its import on, as it was before.

    It sets variables such as `RAY_AUTH_MODE`, and puts modules of its own before all others.
    """

    environment: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ))
    path: Sequence[str] = attrs.field(factory=lambda: tuple(sys.path))

    def give_back(self) -> None:
        """Undo it, once Ray is shut down; what others have changed meanwhile stays."""
        for name in ("PYTHONBREAKPOINT", *filter(_is_of_ray, [*os.environ])):
            if name in self.environment:
                os.environ[name] = self.environment[name]
            else:
                os.environ.pop(name, None)
        import ray

        own = str(Path(ray.__file__).parent / "thirdparty_files")
        if sys.path.count(own) > self.path.count(own):
            sys.path.remove(own)


def _is_of_ray(name: str) -> bool:
    return name.startswith("RAY_")


def held_by_trackers() -> dict[str, str | None]:
    """Give what trackers hold in the environment at this moment, with the user's own values.

    Ray gives a cluster that it starts all that is in the environment by then, tokens, too.
    """
    own = own_environment()
    names = {*own, *os.environ}
    return {name: own.get(name) for name in names if own.get(name) != os.environ.get(name)}


def give_environment_back(own: Mapping[str, str | None]) -> None:
    """Give variables of this worker the user's own values, where there are some."""
    for name, value in own.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def shut_down(*, is_own_cluster: bool) -> None:
    """Leave the cluster; wait for all processes of one that was started here, and end what stays.

    Ray itself knows nothing of those of a cluster that was not up in time.
    """
    import ray

    psutil = importlib.import_module("psutil")  # which Ray brings
    own = str(Path(ray.__file__).parent)
    started: list[Any] = []
    for child in psutil.Process().children() if is_own_cluster else ():
        with suppress(psutil.Error):  # it has ended
            # One that has died by itself, and was not waited for, has a name alone.
            is_of_ray = child.name() in _SERVERS or any(own in part for part in child.cmdline())
            started += [child, *child.children(recursive=True)] if is_of_ray else []
    ray.shutdown()
    left = psutil.wait_procs(started, timeout=GRACE)[1]
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=GRACE)


@contextmanager
def same_interpreter(is_own_cluster: bool) -> Iterator[None]:
    """Have the workers of a cluster on this machine run in this script's own environment.

    Below `uv run` Ray would pack the working directory and start each of them by `uv run` there.
    Source: `RAY_ENABLE_UV_RUN_RUNTIME_ENV` in Ray's `ray.init`.
    """
    from ray._private import ray_constants

    off = [(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", False)]
    with process_values({}, off if is_own_cluster else []):
        yield


@contextmanager
def same_answer_to_sigterm() -> Iterator[None]:
    """Take back the handler of SIGTERM that Ray sets below Python's, and which aborts the driver.

    Python can set signal handlers in its main thread alone; the C library does it anywhere.
    Source: `InstallFailureSignalHandler` in Ray's `core_worker_process.cc`.
    """
    library = ctypes.CDLL(None)
    before = ctypes.create_string_buffer(512)  # more than any system's `struct sigaction`
    library.sigaction(signal.SIGTERM, None, before)
    try:
        yield
    finally:
        library.sigaction(signal.SIGTERM, before, None)
