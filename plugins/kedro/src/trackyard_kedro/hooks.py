"""What happens at each of Kedro's hooks, so that a node is a tracked step?

Kedro calls the hooks of a node in the process and thread that runs it. Workers of `ParallelRunner`
see no hook of the pipeline: what they need to know of it stands in the environment.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from multiprocessing.util import Finalize
from threading import get_ident
from typing import TYPE_CHECKING, Any

import attrs
from kedro.framework.hooks import hook_impl

from trackyard import Client, log_params, tracked_step
from trackyard.contract import ConfigError

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

_PIPELINE = "TRACKYARD_KEDRO_PIPELINE"
# Kedro takes no colon in a tag, "track:local" is "track.local" there.
_TAG = "track."
_PARAMETERS = "params:"


@attrs.define(eq=False)
class _Tracked:
    """A node that is being tracked.

    Attributes:
        stack: Holds its run; closing it ends the run.
        unsaved: Names of outputs of which nothing is saved yet.
        is_stream: Its outputs come piece by piece, and none is known to be the last.
        thread: The thread that runs it.
    """

    stack: ExitStack
    unsaved: set[str]
    is_stream: bool
    thread: int


class TrackyardHooks:
    """Tracks nodes. `trackyard_kedro.hooks` is the one that Kedro finds by itself."""

    def __init__(self) -> None:
        self._tracked: dict[str, _Tracked] = {}
        self._process = os.getpid()

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline) -> None:
        """Check the trackers that tags name, and tell the workers which pipeline runs."""
        names = {name for node in pipeline.nodes for name in _trackers_of(node)}
        _check_trackers(pipeline)
        known = {"name": _pipeline_name(run_params), "is_chosen": bool(names)}
        os.environ[_PIPELINE] = json.dumps(known)

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any], run_id: str) -> None:
        """Start the node's run."""
        self._end_left_over(get_ident())
        known = json.loads(os.environ.get(_PIPELINE) or "{}")
        trackers = _trackers_of(node)
        if known.get("is_chosen") and not trackers:
            return
        stack = ExitStack()
        stack.enter_context(
            tracked_step(
                pipeline=known.get("name", "__default__"),
                step=node.name,
                run=run_id,
                experiment_tracker=trackers or True,
            )
        )
        parameters = _parameters_in(inputs)
        if parameters:
            log_params(parameters)
        is_stream = inspect.isgeneratorfunction(inspect.unwrap(node.func))
        self._tracked[node.name] = _Tracked(stack, set(node.outputs), is_stream, get_ident())
        self._end_with_process()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """End the run of a node that has nothing to save."""
        tracked = self._tracked.get(node.name)
        if tracked is not None and not tracked.unsaved and not tracked.is_stream:
            self._end(node.name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """End the run of a node whose outputs are all saved."""
        tracked = self._tracked.get(node.name)
        if tracked is not None:
            tracked.unsaved.discard(dataset_name)
            if not tracked.unsaved and not tracked.is_stream:
                self._end(node.name)

    @hook_impl
    def on_node_error(self, error: Exception, node: Node) -> None:
        """Fail the run of a node that raised."""
        self._end(node.name, error)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End what is left: nodes that give their outputs piece by piece."""
        self._end_left_over()
        os.environ.pop(_PIPELINE, None)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Fail the runs of nodes whose outputs could not be saved."""
        for name in list(self._tracked):
            self._end(name, error)
        os.environ.pop(_PIPELINE, None)

    def _end_left_over(self, thread: int | None = None) -> None:
        """End runs of nodes that Kedro has left behind, those of one thread or all."""
        for name, tracked in list(self._tracked.items()):
            if thread in (None, tracked.thread):
                error = RuntimeError("its outputs were not saved") if tracked.unsaved else None
                self._end(name, error)

    def _end(self, name: str, error: BaseException | None = None) -> None:
        tracked = self._tracked.pop(name, None)
        if tracked is None:
            return
        if error is None:
            tracked.stack.close()
            return
        with suppress(type(error)):  # Kedro itself raises it
            tracked.stack.__exit__(type(error), error, error.__traceback__)

    def _end_with_process(self) -> None:
        """In a worker of `ParallelRunner`: end what is left when it ends."""
        if os.getpid() != self._process:
            self._process = os.getpid()
            Finalize(None, self._end_left_over, exitpriority=100)


def _trackers_of(node: Node) -> list[str]:
    """Give the trackers that tags such as `track.local` name."""
    return sorted(tag.removeprefix(_TAG) for tag in node.tags if tag.startswith(_TAG))


def _check_trackers(pipeline: Pipeline) -> None:
    """See that there is a tracker for each tag.

    Raises:
        ConfigError: There is none.
    """
    client, known = Client(), set[str]()
    for node in pipeline.nodes:
        for name in _trackers_of(node):
            try:
                if name not in known:
                    client.get_experiment_tracker(name)
                known.add(name)
            except ConfigError as error:  # says what is there
                raise ConfigError(f"node {node.name!r}, tag {_TAG + name!r}: {error}") from None


def _pipeline_name(run_params: Mapping[str, Any]) -> str:
    names = run_params.get("pipeline_names") or [run_params.get("pipeline_name")]
    return "+".join(name for name in names if name) or "__default__"


def _parameters_in(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a node takes as parameters: `params:rate`, and all of `parameters`."""
    found: dict[str, Any] = {}
    for name, value in inputs.items():
        if name == "parameters" and isinstance(value, Mapping):
            found.update(value)
        elif name.startswith(_PARAMETERS):
            found[name.removeprefix(_PARAMETERS)] = value
    return found
