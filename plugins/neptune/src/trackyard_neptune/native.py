"""What does the step get to call Neptune's SDK with?

The SDK's run, in its offline mode, in the run's folder: nothing that the step calls waits for the
network, and what `kill -9` leaves can be read. The tracker sends what is new of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from threading import get_ident
from typing import TYPE_CHECKING, Any

from trackyard.contract import Capture, Run, after_import

if TYPE_CHECKING:
    from trackyard_neptune.first_runs import Step

_OFF = {
    "capture_stdout": False,
    "capture_stderr": False,
    "capture_hardware_metrics": False,
    "capture_traceback": False,
    "git_ref": False,
    "source_files": [],
}


class NativeRun:
    """What `native_run` gives: Neptune's run, made when it is first used.

    Importing the SDK takes seconds of CPU, and most steps do not use it.

    Args:
        make: Makes it, or gives the one that the step's code has made.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @property
    def __class__(self) -> type:
        """Say, to integrations that ask, that it is Neptune's run."""
        return NativeRun if "neptune" not in sys.modules else type(self.made())

    @__class__.setter
    def __class__(self, _: type) -> None:
        raise TypeError("the class of a run does not change")

    def made(self) -> Any:
        """Give the SDK's own run."""
        return self._make()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.made(), name)

    def __getitem__(self, path: str) -> Any:
        return self.made()[path]

    def __setitem__(self, path: str, value: Any) -> None:
        self.made()[path] = value

    def __delitem__(self, path: str) -> None:
        del self.made()[path]


@contextmanager
def active_run(run: Run, project: str | None, capture: Capture | None) -> Iterator[NativeRun]:
    """Let the runs that Neptune's own calls make be those of a step, and give its own.

    Args:
        run: The run.
        project: Where it is, as the tracker says.
        capture: Makes child runs of further runs, or None.
    """
    thread = get_ident()
    steps: list[Step] = []
    with ExitStack() as held:

        def enter() -> None:
            from trackyard_neptune.first_runs import Step, active

            steps.append(Step(run, project, capture, thread))
            held.enter_context(active(steps[0]))

        def make() -> Any:
            import_module("neptune")  # which enters the step, where nothing has before
            return steps[0].own_run(_OFF)

        if "neptune" in sys.modules:
            enter()
        else:
            held.enter_context(after_import("neptune", enter))
        yield NativeRun(make)
