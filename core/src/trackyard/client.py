"""How does a program look at runs?"""

from __future__ import annotations

from pathlib import Path

from trackyard.config import find_project
from trackyard.recovery import recover_in_background
from trackyard.stacks import Stack
from trackyard.trackers import Trackers
from trackyard.views import PipelineRun, open_artifact_store


class Client:
    """The runs of a project.

    Args:
        path: A folder of the project; the working directory by default.

    Raises:
        ConfigError: The project's configuration is wrong.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        from trackyard.store import Store  # SQLAlchemy costs 190 ms to import

        self._project = find_project(Path(path) if path is not None else None)
        self._trackers = Trackers(self._project)
        self._store = Store.of(self._project)
        recover_in_background(self._project)
        self._artifact_store = open_artifact_store(self._project, self.active_stack)

    @property
    def active_stack(self) -> Stack:
        """The active stack."""
        return self._trackers.stack

    def get_pipeline_run(self, name_or_id: str) -> PipelineRun:
        """Find a pipeline run by its name or id, or by a prefix that fits it alone.

        Raises:
            RunNotFoundError: None fits, or several do.
        """
        row = self._store.find_pipeline_run(name_or_id)
        return PipelineRun(row, self._store, self._artifact_store)

    def list_pipeline_runs(self, pipeline: str | None = None, most: int = 100) -> list[PipelineRun]:
        """List pipeline runs, the latest first.

        Args:
            pipeline: Only runs of the pipeline of this name.
            most: How many at most.
        """
        rows = self._store.list_pipeline_runs(pipeline, most)
        return [PipelineRun(row, self._store, self._artifact_store) for row in rows]

    def __repr__(self) -> str:
        return f"<Client {self._project.home}>"
