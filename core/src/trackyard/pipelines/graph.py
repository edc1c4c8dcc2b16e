"""Which steps does a pipeline have, what does each wait for, and does it fit together?"""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs

from trackyard.contract.errors import PipelineError
from trackyard.pipelines.building import building, graph_being_built
from trackyard.pipelines.steps import Step
from trackyard.pipelines.types import (
    named_tuple,
    output_names,
    output_type,
    signature_of,
    type_mismatch,
    value_mismatch,
)
from trackyard.system.suggestions import did_you_mean, listed

_T = TypeVar("_T")


@attrs.define(eq=False)
class Node:
    """A call of a step inside a pipeline.

    Attributes:
        name: The step's name, with a number from its second call on: `train`, `train_2`.
        step: The step.
        arguments: Values by parameter name; an `Output` stands for another step's result.
        position: Place in the pipeline, from 0.
        mapped: The parameter that takes one item at a time of what `arguments` has for it, where
            the step was called by `map` with the output of another step.
        items: Of a call for one item: what all the items are.
    """

    name: str
    step: Step
    arguments: Mapping[str, Any]
    position: int
    mapped: str | None = None
    items: Any = None

    def part(self, index: int, item: Any) -> Node:
        """Give the call for one item of what is mapped.

        Args:
            index: Its place in the list, from 0.
            item: The item.
        """
        assert self.mapped is not None
        arguments = {**self.arguments, self.mapped: item}
        items = self.arguments[self.mapped]
        return Node(f"{self.name}[{index}]", self.step, arguments, self.position, items=items)

    def inputs(self) -> Iterator[Output]:
        """Give the outputs of other steps that this call needs."""
        for value in (*self.arguments.values(), self.items):
            yield from _outputs_in(value)


@attrs.frozen(eq=False)
class Output:
    """What a step will give. Inside a pipeline it is passed on; it has no value yet.

    Attributes:
        node: The call that gives it.
        name: Name of the output, or None for all outputs of a step that has several.
    """

    node: Node
    name: str | None

    def __iter__(self) -> Iterator[Output]:
        if self.node.mapped is not None:
            raise PipelineError(
                f"how many outputs {self.node.name!r} has is not known while the pipeline is "
                f"built; pass them on as one list, or to the map(...) of another step"
            )
        names = output_names(self.node.step.function)
        if self.name is not None or len(names) == 1:
            raise PipelineError(
                f"step {self.node.name!r} has one output; to unpack it, annotate the step as "
                f"returning tuple[...] with one type for each output"
            )
        graph = graph_being_built()
        if graph is not None:
            graph.last_unpacked = self.node
        return iter([Output(self.node, name) for name in names])

    def __getattr__(self, name: str) -> Output:
        # Looked up where the class has nothing of that name: a field of a named tuple.
        if name.startswith("_") or name in ("node", "name"):  # asked of it while it is made
            raise AttributeError(name)
        named = None if self.name or self.node.mapped else named_tuple(self.node.step.function)
        if named is None or name not in named._fields:
            raise AttributeError(
                f"the output of step {self.node.name!r} has no {name!r}: it is not known while "
                f"the pipeline is built; pass it on, and take {name!r} inside a step"
            )
        return Output(self.node, name)

    def pick(self, stored: Mapping[str, Any]) -> Any:
        """Give what it means of all that its step gave, by name: one part, or a tuple of all."""
        if self.name is not None:
            return stored[self.name]
        named = named_tuple(self.node.step.function)
        return tuple(stored.values()) if named is None else named._make(stored.values())

    def __len__(self) -> int:
        if self.name is not None or self.node.mapped is not None:
            _refuse(self)
        return len(output_names(self.node.step.function))

    def __repr__(self) -> str:
        named = "" if self.name in (None, "output") else f" {self.name!r}"
        return f"<output{named} of step {self.node.name!r}, not known yet>"


def _refuse(output: Output, *_: Any, **__: Any) -> Any:
    """Stand for each operator: what is asked of a value cannot be asked of an output.

    Raises:
        PipelineError: Always.
    """
    raise PipelineError(
        f"the output of step {output.node.name!r} is not known while the pipeline is built; "
        f"pass it on, and decide and compute with it inside a step"
    )


# By all of these Python itself asks an object for its value; `__iter__` unpacks outputs.
_BINARY = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or"
_ASKED = (
    "bool eq ne lt le gt ge hash str format bytes fspath int float complex index round trunc floor "
    "ceil neg pos abs invert getitem setitem delitem contains reversed next call enter exit "
    "await aiter anext aenter aexit array array_ufunc array_function dataframe"
)
for _name in _ASKED.split():
    setattr(Output, f"__{_name}__", _refuse)
for _name in _BINARY.split():
    for _side in ("", "r", "i"):
        if f"{_side}{_name}" != "idivmod":
            setattr(Output, f"__{_side}{_name}__", _refuse)


class Graph:
    """The calls of steps that a pipeline function made, in order."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline
        self.nodes: dict[str, Node] = {}
        self.last_unpacked: Node | None = None
        self._calls: dict[str, int] = {}

    @contextmanager
    def building(self) -> Iterator[None]:
        """Let calls of steps in this block add to the graph.

        Raises:
            PipelineError: A step's outputs were unpacked into another number of names.
        """
        try:
            with building(self):
                yield
        except ValueError as error:
            if self.last_unpacked is None or "values to unpack" not in str(error):
                raise
            names = output_names(self.last_unpacked.step.function)
            raise PipelineError(
                f"pipeline {self.pipeline!r}: step {self.last_unpacked.name!r} is annotated to "
                f"return {len(names)} outputs ({', '.join(names)}): {error}"
            ) from error

    def add(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Output:
        """Add a call of a step.

        Args:
            step: The step.
            args: The call's arguments, outputs of other calls among them.
            kwargs: Likewise, by name.

        Raises:
            PipelineError: The arguments do not fit the step.
        """
        return self._add(step, args, kwargs, self._free_name(step))

    def add_each(
        self, step: Step, items: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Add a call of a step for each of several items, its first argument.

        Args:
            step: The step.
            items: The items, or an output of another step, which gives a list of them.
            args: The other arguments, the same for each.
            kwargs: Likewise, by name.

        Returns:
            A list of outputs; for an output as items one output, a list when it is loaded.

        Raises:
            PipelineError: The arguments do not fit the step.
        """
        name = self._free_name(step)
        parameter = next(iter(signature_of(step.function).parameters), None)
        if parameter is None:
            raise PipelineError(f"step {step.name!r}: map needs a step that takes an argument")
        if isinstance(items, Output):
            return self._add(step, (items, *args), kwargs, name, mapped=parameter)
        try:
            each = list(items)
        except TypeError:
            raise PipelineError(
                f"step {step.name!r}: map needs several items, not {items!r}"
            ) from None
        return [
            self._add(step, (item, *args), kwargs, f"{name}[{index}]")
            for index, item in enumerate(each)
        ]

    def _free_name(self, step: Step) -> str:
        """Give a name for one more call, with a number from the second one on."""
        same = self._calls.get(step.name, 0) + 1
        self._calls[step.name] = same
        return step.name if same == 1 else f"{step.name}_{same}"

    def _add(
        self,
        step: Step,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str,
        *,
        mapped: str | None = None,
    ) -> Output:
        where = f"pipeline {self.pipeline!r}, step {step.name!r}"
        arguments = bind_arguments(step.function, args, kwargs, where)
        if name in self.nodes:
            raise PipelineError(f"{where}: there is another step called {name!r}; rename one")
        for parameter, value in arguments.items():
            problem = None if parameter == mapped else _mismatch(step, parameter, value)
            if problem:
                raise PipelineError(f"{where}: argument {parameter!r} {problem}")
        names = output_names(step.function)
        for output in names:
            if names.count(output) > 1:
                raise PipelineError(f"{where}: two outputs are called {output!r}; rename one")
            if named_tuple(step.function) and hasattr(Output, output):
                raise PipelineError(f"{where}: an output cannot be called {output!r}; rename it")
        node = self.nodes[name] = Node(name, step, arguments, len(self.nodes), mapped)
        return Output(node, names[0] if len(names) == 1 else None)

    def dependencies(self) -> dict[str, set[str]]:
        """Give for each step the names of those that it waits for.

        Raises:
            PipelineError: An `after` names no step of this pipeline, or steps wait for each other.
        """
        waits: dict[str, set[str]] = {}
        for node in self.nodes.values():
            waits[node.name] = {output.node.name for output in node.inputs()}
            for name in node.step.after:
                waits[node.name].update(self._calls_of(name, node))
        try:
            graphlib.TopologicalSorter(waits).prepare()
        except graphlib.CycleError as error:
            circle = " waits for ".join(repr(name) for name in reversed(error.args[1]))
            raise PipelineError(
                f"pipeline {self.pipeline!r}: steps wait for each other: {circle}"
            ) from None
        return waits

    def _calls_of(self, name: str, waiting: Node) -> set[str]:
        """Give the calls that an `after` means: those of a step so far, else all of them."""
        calls = [node for node in self.nodes.values() if name in (node.name, node.step.name)]
        if not calls:
            hint = did_you_mean(name, self.nodes) or f"; steps are {listed(self.nodes)}"
            raise PipelineError(
                f"pipeline {self.pipeline!r}, step {waiting.name!r}: "
                f"after={name!r} is no step of this pipeline{hint}"
            )
        above = [node for node in calls if node.position < waiting.position]
        return {node.name for node in above or calls}


def bind_arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], where: str
) -> dict[str, Any]:
    """Bind arguments to a function's parameters, defaults included.

    Args:
        function: The user's function.
        args: The arguments.
        kwargs: Likewise, by name.
        where: What is called, for the message.

    Raises:
        PipelineError: An argument is missing, unknown or given twice.
    """
    signature = signature_of(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        unknown = [name for name in kwargs if name not in signature.parameters]
        hint = did_you_mean(unknown[0], signature.parameters) if unknown else ""
        raise PipelineError(f"{where}: {error}{hint or f'; it takes {signature}'}") from None
    bound.apply_defaults()
    return dict(bound.arguments)


def fill_in(value: Any, kind: type[_T], load: Callable[[_T], Any]) -> Any:
    """Replace what stands for something else, also inside lists, tuples and dicts.

    Args:
        value: An argument.
        kind: What is replaced.
        load: Gives what is put in its place.
    """
    if isinstance(value, kind):
        return load(value)
    if type(value) in (list, tuple) or is_named_tuple(value):
        make = value._make if is_named_tuple(value) else type(value)
        return make(fill_in(item, kind, load) for item in value)
    if type(value) is dict:
        return {key: fill_in(item, kind, load) for key, item in value.items()}
    return value


def is_named_tuple(value: Any) -> bool:
    """Tell whether a value is of a class that `NamedTuple` made."""
    return isinstance(value, tuple) and hasattr(value, "_make")


def _mismatch(step: Step, parameter: str, value: Any) -> str | None:
    if not isinstance(value, Output):
        return value_mismatch(step.function, parameter, value)
    if value.node.mapped is not None:
        return type_mismatch(step.function, parameter, list)
    given = output_type(value.node.step.function, value.name)
    return type_mismatch(step.function, parameter, given)


def _outputs_in(value: Any) -> Iterator[Output]:
    if isinstance(value, Output):
        yield value
    elif type(value) in (list, tuple) or is_named_tuple(value):
        for item in value:
            yield from _outputs_in(item)
    elif type(value) is dict:
        for item in value.values():
            yield from _outputs_in(item)
