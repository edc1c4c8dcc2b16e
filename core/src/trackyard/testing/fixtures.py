"""What does a test get that asserts on what its code logs? A plugin of pytest: `trackyard_run`.

Each session of pytest imports this file, where Trackyard is installed: it needs pytest alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from trackyard.runs.artifacts import Artifacts
    from trackyard.runs.views import RunView
    from trackyard.tracking.calls import ActiveRun


class CapturedRun:
    """What the code under test has logged by now, in a run that no experiment tracker gets.

    Args:
        run: The run.
        project: Its project's folder.
    """

    def __init__(self, run: ActiveRun, project: Path) -> None:
        self.run = run
        self._project = project

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return {key: found.last for key, found in self.view.metrics.items()}

    def history(self, key: str) -> list[tuple[float | None, float]]:
        """Give all points of a metric, with their steps.

        Args:
            key: The metric's name.
        """
        curve = self.view.curves[key]
        return list(zip(curve.steps, curve.values, strict=True))

    @property
    def params(self) -> dict[str, Any]:
        """The params."""
        return self.view.all_params

    @property
    def tags(self) -> dict[str, str]:
        """The tags."""
        (own,) = self.view.steps
        return dict(own.tags)

    @property
    def artifacts(self) -> Artifacts:
        """The files, by name."""
        return self.view.artifacts

    @property
    def view(self) -> RunView:
        """Everything, as `Client().get_run` gives it."""
        from trackyard.client import Client

        return Client(self._project).get_run(self.run.id)

    def __repr__(self) -> str:
        return f"<CapturedRun {self.run.name}>"


_PROJECT = """active_stack = "tests"

[stacks.tests]
experiment_trackers = []
"""


@pytest.fixture
def trackyard_run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[CapturedRun]:
    """A run that is active in the test, of which the test sees what was logged.

    It stands in a project of its own, without experiment trackers, which is the current one.

    Args:
        request: The test, after which the run is named.
        tmp_path_factory: Makes the project's folder.
        monkeypatch: Names the project in the environment.
    """
    from trackyard.tracking.blocks import start_run

    project = tmp_path_factory.mktemp("trackyard")
    (project / "trackyard.toml").write_text(_PROJECT, encoding="utf-8")
    for name in ("TRACKYARD_DISABLE", "TRACKYARD_HOME", "TRACKYARD_ACTIVE_STACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACKYARD_PROJECT", str(project))
    monkeypatch.setenv("TRACKYARD_WATCHDOG", "0")
    with start_run(request.node.name, "tests", experiment_tracker=None) as run:
        run.set_tag("test", request.node.nodeid)
        yield CapturedRun(run, project)
