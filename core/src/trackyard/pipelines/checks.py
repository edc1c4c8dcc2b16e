"""What is checked before anything of a pipeline runs, beside the graph itself?"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from trackyard.contract.errors import ConfigError, PluginError
from trackyard.contract.orchestrators import Orchestrator, Outcome
from trackyard.pipelines.graph import Graph
from trackyard.project.sources import select_sources, with_sources
from trackyard.project.stacks import Stack
from trackyard.project.trackers import Tracker, Trackers
from trackyard.system.environment import is_disabled

logger = logging.getLogger("trackyard")

# What an orchestrator must have, see `trackyard.contract.Orchestrator`.
_PARTS = ("places", "is_elsewhere", "run", "stop", "close")


def select_trackers(trackers: Trackers, graph: Graph) -> dict[str, list[Tracker]]:
    """Give the trackers of each step.

    Args:
        trackers: The project's trackers.
        graph: The steps, each with its choice and settings.

    Raises:
        ConfigError: One is unknown or configured wrongly, or a step's settings are.
    """
    selected: dict[str, list[Tracker]] = {}
    for node in graph.nodes.values():
        chosen, settings = node.step.experiment_tracker, node.step.settings
        selected[node.name] = []
        try:
            if not is_disabled():
                own = trackers.select(chosen, settings)
                sources = select_sources(trackers, node.step.capture)
                selected[node.name] = with_sources(own, sources)
        except ConfigError as error:
            message = f"pipeline {graph.pipeline!r}, step {node.step.name!r}: {error}"
            raise ConfigError(message) from error.__cause__  # one error, not two
    return selected


def checked_orchestrator(trackers: Trackers, graph: Graph) -> Orchestrator:
    """Make the active stack's orchestrator.

    Args:
        trackers: The project's, which know the active stack.
        graph: The steps, each with the resources that it asks for.

    Raises:
        ConfigError: It is unknown or configured wrongly, is none, or has no such resources as a
            step asks for.
    """
    orchestrator: Orchestrator = trackers.orchestrator()
    missing = [part for part in _PARTS if not hasattr(orchestrator, part)]
    if missing:
        kind = f"{type(orchestrator).__module__}.{type(orchestrator).__qualname__}"
        raise ConfigError(
            f"{trackers.stack.place}.orchestrator: {kind} has no {', '.join(missing)}; "
            "an orchestrator has all of trackyard.contract.Orchestrator"
        )
    check = getattr(orchestrator, "check_resources", lambda _: None)
    for node in graph.nodes.values():
        try:
            check(node.step.resources)
        except ConfigError as error:
            message = f"pipeline {graph.pipeline!r}, step {node.step.name!r}: {error}"
            raise ConfigError(message) from error.__cause__
    return orchestrator


def checked_outcome(outcome: object) -> Outcome:
    """Give what an orchestrator gave.

    Raises:
        PluginError: It is no outcome of a step, or one that failed without an error.
        BaseException: The outcome's error, where the orchestrator made it and says no more of it.
    """
    if not isinstance(outcome, Outcome):
        raise PluginError(f"the orchestrator gave {outcome!r} in place of the step's Outcome")
    if outcome.failure is not None and outcome.error is None:
        raise PluginError(f"the orchestrator gave a failure without its error: {outcome.failure}")
    if outcome.error is not None and outcome.failure is None:
        raise outcome.error
    return outcome


def check_what_others_see(
    stack: Stack, artifact_store: str, trackers: Mapping[str, Iterable[Tracker]]
) -> None:
    """Check that other processes reach the outputs; say which native calls they cannot make.

    Args:
        stack: The active stack, for messages.
        artifact_store: The URL of the artifact store.
        trackers: The trackers of each step, by its name.

    Raises:
        ConfigError: They do not reach them.
    """
    if artifact_store.startswith("memory:"):
        raise ConfigError(
            f"{stack.place}.artifact_store: {artifact_store} is seen by this process alone, and "
            f"orchestrator {stack.orchestrator!r} runs steps in others; name a folder or URL"
        )
    from trackyard.pipelines.parcels import make_findable

    make_findable(artifact_store)
    chosen = [tracker for of_step in trackers.values() for tracker in of_step]
    alone = {tracker.name for tracker in chosen if not tracker.capabilities.shared_runs}
    for name in sorted(alone):
        logger.warning(
            "experiment tracker %r takes a run from one process alone: with orchestrator %r it "
            "gets what is logged by trackyard's calls, and not what its SDK's own calls log",
            name,
            stack.orchestrator,
        )
