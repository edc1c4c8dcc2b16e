"""Do the frameworks' own tests of loggers pass with ours in the place of one of theirs?

Nothing of them is in this repository: name a checkout of the framework, at about the release that
is installed. Type, in an environment with torch and pytest as `.ci/long` makes it:

    .venv-torch/bin/python plugins/integrations/tests/upstream.py lightning CHECKOUT
    .venv-torch/bin/python plugins/integrations/tests/upstream.py accelerate CHECKOUT
    .venv-torch/bin/python plugins/integrations/tests/upstream.py transformers CHECKOUT
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest

import trackyard
from trackyard import Client

CONFIGURATION = """
[experiment_trackers.memory]
flavor = "trackyard.testing:MemoryTracker"
[stacks.default]
experiment_trackers = ["memory"]
"""


class InLightning:
    """Lightning's tests of all loggers find ours under the name of one of its own."""

    file = "tests_pytorch/loggers/test_all.py"
    # Ids of parametrized tests name the class; the others are of single loggers.
    chosen = "TrackyardLogger"

    def pytest_configure(self) -> None:
        """Put ours in before the tests take the names of all classes."""
        from lightning.pytorch import loggers

        from trackyard_integrations.lightning import TrackyardLogger

        loggers.CSVLogger = TrackyardLogger

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """End a run that a test leaves open, and its thread: Lightning looks for those."""
        with suppress(trackyard.NoActiveRunError):
            trackyard.current_run().end()
        for thread in threading.enumerate():
            if thread.name.startswith("trackyard-"):
                thread.join(timeout=20)


class InAccelerate:
    """Accelerate's tests of registered and of lazy trackers find ours in the place of theirs."""

    file = "test_tracking.py"
    chosen = (
        "test_register_and_use_by_name or test_register_overwrite or none_kwargs "
        "or test_tensorboard_deferred"
    )

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put ours in before the tests begin."""
        from trackyard_integrations.accelerate import TrackyardTracker

        class Read(TrackyardTracker):
            """What the tests look at is read back from the run."""

            @property
            def config(self) -> dict[str, object]:
                return dict(Client().get_run(self._training.own_id).all_params)

            @property
            def values(self) -> dict[str, float]:
                metrics = Client().get_run(self._training.own_id).metrics
                return {key: metric.last for key, metric in metrics.items()}

        for module in {item.module for item in items}:
            module.MyRegisteredTracker = Read
            module.MyCustomTracker = module.TensorBoardTracker = TrackyardTracker


class InTransformers:
    """Transformers' tests of a Trainer's callbacks have ours beside theirs in each training."""

    file = "trainer/test_trainer_callback.py"
    chosen = "TrainerCallbackTest or StatefulCallbackTest"

    def pytest_configure(self) -> None:
        """Make ours one of those that each Trainer has."""
        from transformers import trainer

        from trackyard_integrations.transformers import TrackyardCallback

        trainer.DEFAULT_CALLBACKS.append(TrackyardCallback)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look at what has arrived: each training is a run of its own, which has finished."""
        statuses = [row.status for row in Client().list_runs()]
        if not statuses or {*statuses} != {"finished"}:
            print(f"runs of trainings are {statuses}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def main(framework: str, checkout: str) -> int:
    """Run the tests of a framework that a logger of ours can stand in.

    Args:
        framework: `lightning`, `accelerate` or `transformers`.
        checkout: A folder with its source.
    """
    plugin = {
        "lightning": InLightning,
        "accelerate": InAccelerate,
        "transformers": InTransformers,
    }[framework]()
    tests = Path(checkout).absolute() / "tests"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "trackyard.toml").write_text(CONFIGURATION)
        os.environ |= {"TRACKYARD_PROJECT": folder, "TRACKYARD_PROGRESS": "0"}
        sys.path.insert(0, str(tests))
        chosen = [str(tests / plugin.file), "-k", plugin.chosen]
        return int(pytest.main([*chosen, "-p", "no:cacheprovider", "-v"], plugins=[plugin]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
