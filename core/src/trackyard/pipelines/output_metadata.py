"""What does a step say of its outputs, beside their values?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from trackyard.redaction.redactor import Redactor
from trackyard.system.interruption import let_signals_through
from trackyard.system.showing import plain
from trackyard.tracking.calls import current_run
from trackyard.tracking.tracked_runs import TrackedRun

Metadata = dict[str, dict[str, Any]]  # of each output, by its name
# By the ids of the step runs at work here.
_SAID: dict[str, tuple[Sequence[str], Metadata, Redactor]] = {}


def set_output_metadata(metadata: Mapping[str, Any], output: str | None = None) -> None:
    """Say something of an output that the step which runs will return: rows, a schema, a source.

    It belongs to the version of the output that the step makes: `OutputVersion.metadata`.

    Args:
        metadata: Values that JSON has, by key, the last value of a key counts; others are kept as
            texts, secrets are not kept.
        output: The output's name; not needed where the step returns one.

    Raises:
        NoActiveRunError: There is no run, or several and none of them is this thread's.
    """
    run = inner = current_run()
    while run.id not in _SAID and run.outer is not None:
        run = run.outer
    names, said, redactor = _SAID.get(run.id, ((), {}, Redactor()))
    if output is None and len(names) == 1:
        output = names[0]
    problem = _problem(metadata, output, names)
    if not problem:
        try:
            kept = plain(redactor.redact_nested(metadata))
        except Exception as error:  # whatever a value of the user's raises: the step goes on
            let_signals_through(error)
            problem = f"has a value that has no text ({type(error).__name__})"
        else:
            said.setdefault(str(output), {}).update(kept)
    if problem and not inner.is_muted:
        inner._warn(f"set_output_metadata {problem}; nothing was kept")  # noqa: SLF001 - a log call


def _problem(metadata: object, output: str | None, names: Sequence[str]) -> str:
    if not names:
        return "is called where no step of a pipeline runs"
    if output not in names:
        given = "no output" if output is None else repr(output)
        return f"names {given}, and the step returns {', '.join(names)}"
    if not isinstance(metadata, Mapping):
        return f"takes a dict of keys and values, and not {type(metadata).__name__}"
    return ""


@contextmanager
def output_metadata(tracked: TrackedRun, outputs: Sequence[str]) -> Iterator[Metadata]:
    """Take what is said while a step runs, as JSON can hold it.

    Args:
        tracked: The step's run.
        outputs: The names of what it returns.
    """
    said: Metadata = {}
    _SAID[tracked.run.id] = outputs, said, tracked.redactor
    try:
        yield said
    finally:
        del _SAID[tracked.run.id]
