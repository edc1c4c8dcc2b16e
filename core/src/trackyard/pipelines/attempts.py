"""What is one attempt of a step, in whichever process it runs?"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from trackyard.contract.errors import OutputError
from trackyard.contract.materializers import StoredOutput
from trackyard.contract.orchestrators import Outcome
from trackyard.contract.records import Run
from trackyard.outputs.artifact_store import ArtifactStore
from trackyard.pipelines.graph import fill_in, is_named_tuple
from trackyard.pipelines.output_metadata import output_metadata
from trackyard.pipelines.types import signature_of
from trackyard.system.forks import only_in_this_process
from trackyard.system.interruption import time_limit
from trackyard.tracking.calls import activated
from trackyard.tracking.failures import failure_of
from trackyard.tracking.tracked_runs import TrackedRun


@attrs.frozen(eq=False)
class Attempt:
    """One try of a step. It can be pickled and is small: inputs are named, not held.

    Attributes:
        run: The attempt as trackers know it.
        function: The user's function.
        arguments: By parameter name; a `StoredOutput` stands for what it names.
        outputs: What its outputs are called, which another process cannot always tell.
        timeout: Seconds that the function may take, or None.
    """

    run: Run
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    outputs: tuple[str, ...]
    timeout: float | None = None


def perform(attempt: Attempt, tracked: TrackedRun, artifacts: ArtifactStore) -> Outcome:
    """Load the inputs, call the function with the run as the current one, store the outputs.

    Whatever goes wrong is the outcome; nothing is raised.

    Args:
        attempt: The attempt.
        tracked: Its run, which has been started.
        artifacts: Where inputs and outputs lie.
    """
    began = time.monotonic()
    try:
        arguments = fill_in(attempt.arguments, StoredOutput, artifacts.load)
        with (
            output_metadata(tracked, attempt.outputs) as said,
            activated(tracked),
            time_limit(attempt.timeout),
            only_in_this_process(),
        ):
            result = _call(attempt.function, arguments)
        outputs = _save(attempt, result, artifacts)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            tracked.note_signal(signal.SIGINT)  # a second one may come before the run has ended
        failure = failure_of(error, tracked.redactor)
        seconds = time.monotonic() - began
        return Outcome({}, tracked.last_metrics, failure, error, seconds=seconds)
    seconds = time.monotonic() - began
    return Outcome(outputs, tracked.last_metrics, seconds=seconds, output_metadata=said)


def stored_in(value: Any) -> Iterator[StoredOutput]:
    """Give the outputs that stand in an argument, also inside lists, tuples and dicts."""
    if isinstance(value, StoredOutput):
        yield value
    elif type(value) in (list, tuple) or is_named_tuple(value):
        for item in value:
            yield from stored_in(item)
    elif type(value) is dict:
        for item in value.values():
            yield from stored_in(item)


def _call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a function with arguments by parameter name, whatever kinds of parameter it has."""
    bound = signature_of(function).bind_partial()
    bound.arguments.update(arguments)
    return function(*bound.args, **bound.kwargs)


def _save(attempt: Attempt, result: Any, artifacts: ArtifactStore) -> dict[str, StoredOutput]:
    names = attempt.outputs
    if len(names) == 1:
        results = [result]
    elif isinstance(result, tuple | list) and len(result) == len(names):
        results = list(result)
    else:
        raise OutputError(
            f"step {attempt.run.name!r} is annotated to return {len(names)} outputs and returned "
            f"{type(result).__name__}"
            + (f" of {len(result)}" if isinstance(result, tuple | list) else "")
        )
    files = _file_names(names)
    return {
        name: artifacts.save(f"{attempt.run.id}/{file}", value)
        for name, file, value in zip(names, files, results, strict=True)
    }


def _file_names(outputs: Sequence[str]) -> list[str]:
    """Give each output a file's name of its own: the output's where that is one, else a number.

    Some file systems make no difference between `Model` and `model`.
    """
    files: list[str] = []
    for index, output in enumerate(outputs):
        is_fit = output.isidentifier() and output.isascii() and len(output) < 60
        is_free = output.lower() not in (file.lower() for file in files)
        files.append(output if is_fit and is_free else f"output-{index}")
    return files
