"""How is a function made a step?"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import attrs

from trackyard.contract.errors import PipelineError
from trackyard.pipelines.building import graph_being_built
from trackyard.project.sources import Sources
from trackyard.project.trackers import Selection, Settings
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from trackyard.runs.pipeline_views import StepRun

Callback: TypeAlias = "Callable[[StepRun], object]"

_OPTIONS = (
    "name",
    "experiment_tracker",
    "settings",
    "capture",
    "after",
    "retries",
    "retry_delay",
    "timeout",
    "on_failure",
    "on_success",
    "cache",
    "resources",
)


@attrs.frozen(eq=False, slots=False)
class Step:
    """A function with what a pipeline needs to know of it.

    Inside a pipeline, calling it adds it to the graph; anywhere else it is the plain function,
    which may log: into the run that is active there, or else nowhere.

    Attributes:
        function: The user's function.
        name: The step's name.
        experiment_tracker: Trackers that its runs are tracked in; none by default.
        settings: Fields to lay over the trackers' configuration.
        capture: Flavors whose SDK's own calls reach the trackers; those of the stack by default.
        after: Names of steps that it waits for without taking anything from them.
        retries: How often a failed attempt is tried again, each as a tracker run of its own.
        retry_delay: Seconds before the first retry, about; twice as long before each later one.
        timeout: Seconds that an attempt may take, or None.
        on_failure, on_success: Called in the driver with the `StepRun` when the step has ended for
            good. What they do or raise changes nothing.
        cache: An earlier result of equal code, inputs and params is taken in place of a new one.
        resources: What it asks of a cluster, such as `{"num_gpus": 1}`.
    """

    function: Callable[..., Any]
    name: str
    experiment_tracker: Selection = None
    settings: Settings = attrs.field(factory=dict)
    capture: Sources = None
    after: tuple[str, ...] = ()
    retries: int = 0
    retry_delay: float = 0.5
    timeout: float | None = None
    on_failure: Callback | None = None
    on_success: Callback | None = None
    cache: bool = False
    resources: Mapping[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        take_after(self, self.function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add the step to the pipeline that is being built, or call the function."""
        graph = graph_being_built()
        if graph is None:
            with self._as_function():
                return self.function(*args, **kwargs)
        return graph.add(self, args, kwargs)

    def map(self, items: Any, /, *others: Any, **arguments: Any) -> Any:
        """Call the step once for each item, its first argument; each is a run of its own.

        Args:
            items: A list, or the output of another step, which must be a list when it is there.
            others: The other arguments, the same for each.
            arguments: Likewise, by name.

        Returns:
            A list of outputs; for another step's output one output, which is a list.
        """
        graph = graph_being_built()
        if graph is None:
            with self._as_function():
                return [self.function(item, *others, **arguments) for item in items]
        return graph.add_each(self, items, others, arguments)

    def _as_function(self) -> AbstractContextManager[None]:
        from trackyard.tracking.calls import muted_without_run  # costs more than `@step` may

        return muted_without_run(self.name)

    def with_options(self, **options: Any) -> Step:
        """Give the same step with other options, such as `name=` or `experiment_tracker=`."""
        current = {field.name: getattr(self, field.name) for field in attrs.fields(Step)}
        function = current.pop("function")
        _check_options(options, f"step {self.name!r}: with_options")
        return _make_step(function, **{**current, **options})

    def __repr__(self) -> str:
        return f"<Step {self.name}>"


def checked_name(name: Any, function: Callable[..., Any], kind: str) -> str:
    """Give a step's or pipeline's name: the function's where none is given.

    Args:
        name: What the user gave, or None.
        function: The user's function.
        kind: `step` or `pipeline`, for the message.

    Raises:
        PipelineError: It is no text, or an empty one.
    """
    if name is None:
        return str(getattr(function, "__name__", kind))
    if not isinstance(name, str) or not name.strip():
        raise PipelineError(f"@{kind}(name={name!r}): a name must be a text that is not empty")
    return name


def take_after(wrapper: object, function: Callable[..., Any]) -> None:
    """Give a frozen wrapper the name, docstring and signature of its function.

    Args:
        wrapper: The step or pipeline.
        function: What it wraps.
    """
    names = (name for name in functools.WRAPPER_ASSIGNMENTS if hasattr(function, name))
    vars(wrapper).update({name: getattr(function, name) for name in names}, __wrapped__=function)


@overload
def step(function: Callable[..., Any], /) -> Step: ...


@overload
def step(
    *,
    name: str | None = None,
    experiment_tracker: Selection = None,
    settings: Settings | None = None,
    capture: Sources = None,
    after: str | Step | Sequence[str | Step] = (),
    retries: int = 0,
    retry_delay: float = 0.5,
    timeout: float | None = None,
    on_failure: Callback | None = None,
    on_success: Callback | None = None,
    cache: bool = False,
    resources: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Step]: ...


def step(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a step, as `@step` or `@step(experiment_tracker=...)`.

    Args:
        function: The function; its annotations name and check outputs and inputs.
        options: As follows.
        name: The step's name; the function's by default.
        experiment_tracker: A tracker's name, a list of names, or `True` for every tracker of the
            active stack.
        settings: Fields to lay over the trackers' configuration, by tracker or flavor name.
        capture: Flavors whose SDK's own calls reach these trackers, or `FLAVOR=FOLDER` for
            files that are read as they grow; those of the active stack by default.
        after: Steps, or names of steps, that it waits for without taking anything from them.
        retries: How often a failed attempt is tried again.
        retry_delay: Seconds before the first retry, about; twice as long before each later one.
        timeout: Seconds that an attempt may take.
        on_failure, on_success: Called with the `StepRun` when the step has ended for good. What
            they do or raise changes nothing.
        cache: Take an earlier result of equal code, inputs and params in place of a new one.
        resources: What it asks of a cluster, such as `{"num_gpus": 1}`.

    Raises:
        PipelineError: An option is wrong.
    """
    _check_options(options, "@step")
    if function is None:
        return functools.partial(_make_step, **options)
    return _make_step(function, **options)


def _check_options(options: Mapping[str, Any], where: str) -> None:
    for name in options:
        if name not in _OPTIONS:
            hint = did_you_mean(name, _OPTIONS) or f"; options are {listed(_OPTIONS)}"
            raise PipelineError(f"{where}: no option {name!r}{hint}")


def _make_step(function: Callable[..., Any], *, name: str | None = None, **options: Any) -> Step:
    if not callable(function):
        raise PipelineError(f"@step goes above a function, not above {function!r}")
    name = checked_name(name, function, "step")
    if inspect.iscoroutinefunction(function):
        raise PipelineError(
            f"step {name!r} is async, and steps are called directly; "
            f"write a plain def with asyncio.run(...) inside"
        )
    _check_values(name, options)
    after = _names_of(name, options.pop("after", ()))
    for mapping in ("settings", "resources"):
        options[mapping] = options.get(mapping) or {}
    return Step(function, name, after=after, **options)


def _check_values(name: str, options: Mapping[str, Any]) -> None:
    for option in ("settings", "resources"):
        value = options.get(option)
        if value is not None and not isinstance(value, Mapping):
            raise PipelineError(f"step {name!r}: {option} must be a dict, not {value!r}")
    if not isinstance(cache := options.get("cache", False), bool):
        raise PipelineError(f"step {name!r}: cache must be True or False, not {cache!r}")
    retries = options.get("retries", 0)
    if type(retries) is not int or retries < 0:
        raise PipelineError(f"step {name!r}: retries must be 0 or more, not {retries!r}")
    delay = options.get("retry_delay", 0.0)
    if not _is_number(delay) or delay < 0:
        raise PipelineError(f"step {name!r}: retry_delay must be seconds, not {delay!r}")
    timeout = options.get("timeout")
    if timeout is not None and (not _is_number(timeout) or timeout <= 0):
        raise PipelineError(
            f"step {name!r}: timeout must be more than 0 seconds, or None, not {timeout!r}"
        )
    for option in ("on_failure", "on_success"):
        value = options.get(option)
        if value is not None and not callable(value):
            raise PipelineError(f"step {name!r}: {option} must be a function, not {value!r}")


def _names_of(name: str, after: str | Step | Sequence[str | Step]) -> tuple[str, ...]:
    befores = [after] if isinstance(after, str | Step) else after
    if not isinstance(befores, list | tuple | set | frozenset):
        raise PipelineError(f"step {name!r}: after must name steps, not {after!r}")
    names = tuple(item.name if isinstance(item, Step) else item for item in befores)
    for before in names:
        if not isinstance(before, str):
            raise PipelineError(f"step {name!r}: after must name steps, not {before!r}")
    return names


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
