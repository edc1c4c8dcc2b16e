"""How is a function made a pipeline, and what happens when it is called?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import attrs

from trackyard.contract.errors import PipelineError
from trackyard.pipelines.building import graph_being_built
from trackyard.pipelines.graph import Graph, bind_arguments
from trackyard.pipelines.steps import checked_name, take_after
from trackyard.project.configuration import find_project
from trackyard.system.doors import Uncollected
from trackyard.system.showing import escaped
from trackyard.tracking.ranked import is_tracked_elsewhere, project_of_rank

if TYPE_CHECKING:
    from trackyard.runs.pipeline_views import PipelineRun


@attrs.frozen(eq=False, slots=False)
class Pipeline:
    """A function whose calls of steps make up a graph; calling it runs them.

    Attributes:
        function: The user's function.
        name: The pipeline's name.
    """

    function: Callable[..., Any]
    name: str

    def __attrs_post_init__(self) -> None:
        take_after(self, self.function)

    def __call__(self, *args: Any, **kwargs: Any) -> PipelineRun:
        """Run the pipeline on the active stack.

        Returns:
            The pipeline run, as `Client().get_pipeline_run` gives it.

        Raises:
            PipelineError, ConfigError: Something does not fit; nothing was run.
            Exception: What a step raised, with its own traceback, once the steps that do not
                depend on it have run.
        """
        with Uncollected():
            from trackyard.pipelines.runner import PipelineRunner

        if graph_being_built() is not None:
            raise PipelineError(
                f"pipeline {self.name!r} was called inside a pipeline; call its steps instead"
            )
        graph, params = self.build(*args, **kwargs)
        project = find_project()
        if is_tracked_elsewhere(project):
            project = project_of_rank(project)
        return PipelineRunner(graph, params, project).run()

    def build(self, *args: Any, **kwargs: Any) -> tuple[Graph, dict[str, Any]]:
        """Build the graph without running it.

        Args:
            *args: The pipeline's arguments.
            **kwargs: Likewise, by name.

        Returns:
            The graph, and the arguments by parameter name.

        Raises:
            PipelineError: An argument does not fit, here or at one of the steps.
        """
        params = bind_arguments(self.function, args, kwargs, f"pipeline {self.name!r}")
        graph = Graph(self.name)
        with graph.building():
            self.function(*args, **kwargs)
        graph.dependencies()
        return graph, params

    def __repr__(self) -> str:
        return f"<Pipeline {self.name}>"

    def _repr_html_(self) -> str:
        from trackyard.pipelines.pictures import MOST, boxes_of, picture

        title = f"<p>pipeline {escaped(self.name)}</p>"
        try:
            graph, _ = self.build()
        except Exception as error:  # a parameter without a default, or whatever the function raises
            return f"{title}<p>its graph cannot be drawn: {escaped(str(error))}</p>"
        if len(graph.nodes) > MOST:
            return f"{title}<p>{len(graph.nodes)} steps</p>"
        return title + picture(boxes_of(graph))


@overload
def pipeline(function: Callable[..., Any], /) -> Pipeline: ...


@overload
def pipeline(*, name: str | None = None) -> Callable[[Callable[..., Any]], Pipeline]: ...


def pipeline(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Make a function a pipeline, as `@pipeline` or `@pipeline(name=...)`.

    Args:
        function: The function; it calls steps and passes their outputs on.
        name: The pipeline's name; the function's by default.
    """
    if function is None:
        return functools.partial(_make_pipeline, name=name)
    return _make_pipeline(function, name)


def _make_pipeline(function: Callable[..., Any], name: str | None) -> Pipeline:
    if not callable(function):
        raise PipelineError(f"@pipeline goes above a function, not above {function!r}")
    return Pipeline(function, checked_name(name, function, "pipeline"))
