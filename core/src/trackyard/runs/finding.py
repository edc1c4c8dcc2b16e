"""Which run does a name, an id or a prefix mean?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from trackyard.contract.errors import RunNotFoundError
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.pending import is_indexed
from trackyard.project.configuration import Project
from trackyard.runs.folders import described_runs
from trackyard.runs.lists import summary_of
from trackyard.runs.views import RunView, block_view, pipeline_run_view, stored_view
from trackyard.store.listing import find_rows, has_store
from trackyard.store.rows import ListedRow

if TYPE_CHECKING:
    from trackyard.store import PipelineRunRow, Store


@attrs.frozen
class FoundRun:
    """A run that was found: a row of the store, or a folder with its description.

    Attributes:
        id, name: As recorded.
        row: Of a pipeline run.
        folder, description: Of a run of a `start_run` block, or of a step by itself.
        listed: Of such a run whose journal is not here.
    """

    id: str
    name: str
    row: PipelineRunRow | None = None
    folder: Path | None = None
    description: RunDescription | None = None
    listed: ListedRow | None = None


def find_run(project: Project, store: Store | None, text: str) -> FoundRun:
    """Find one run by name, id or prefix: of pipelines first, then of `start_run` blocks.

    Of several runs of one name the latest is meant; a prefix has to fit one run alone. A step is
    found by its id alone, for its name is not its own.

    Args:
        project: The project.
        store: Its store; None where it has none yet.
        text: A name, an id or a prefix of either.

    Raises:
        RunNotFoundError: None fits, or a prefix fits several.
    """
    found = _in_index(project, store, text)
    if found is not None:
        return found
    row, problem = _find_row(store, text)
    if row is not None and text in (row.id, row.name):
        return FoundRun(row.id, row.name, row=row)
    blocks = [item for item in _described(project, text) if _answers_to(item[1], text)]
    exact = [item for item in blocks if text in (item[1].run.id, _own_name(item[1]))]
    if exact:
        return _of_block(*exact[-1])
    if row is not None:
        return FoundRun(row.id, row.name, row=row)
    if len(blocks) > 1:
        names = ", ".join(f"{found.run.name} ({found.run.id})" for _, found in blocks[-5:])
        raise RunNotFoundError(f"several runs begin with {text!r}: {names}")
    if not blocks:
        raise problem or RunNotFoundError(_nothing(project, text))
    return _of_block(*blocks[0])


def ids_with_steps(project: Project, text: str) -> tuple[str, ...]:
    """Give the ids of a run and of its steps, in which child runs may have been started.

    Args:
        project: The project.
        text: A name, an id or a prefix of either.

    Raises:
        RunNotFoundError: None fits, or a prefix fits several.
    """
    if not has_store(project):
        return (find_run(project, None, text).id,)
    from trackyard.store import Store

    store = Store.of(project)
    try:
        found = find_run(project, store, text)
        steps = store.list_step_runs(found.id) if found.row is not None else ()
        return (found.id, *(step.id for step in steps))
    finally:
        store.close()


def _in_index(project: Project, store: Store | None, text: str) -> FoundRun | None:
    """Find a run by the store's index alone; None where the folders have to be looked at.

    Raises:
        RunNotFoundError: A prefix fits several.
    """
    if store is None or not is_indexed(project.home):
        return None
    rows = find_rows(store, text)
    if len(rows) > 1:
        names = ", ".join(f"{row.name} ({row.id})" for row in reversed(rows[:5]))
        raise RunNotFoundError(f"several runs begin with {text!r}: {names}")
    for row in rows:
        if row.kind == "pipeline":
            return FoundRun(row.id, row.name, row=store.find_pipeline_run(row.id))
        folder = project.home / "runs" / row.id
        description = load_description(folder)
        if description is not None:
            return FoundRun(row.id, description.run.name, folder=folder, description=description)
        return FoundRun(row.id, row.name, listed=row)
    return None


def view_of(project: Project, store: Store | None, found: FoundRun) -> RunView:
    """Describe a run that was found.

    Args:
        project: The project.
        store: Its store; None where it has none yet.
        found: The run.
    """
    if found.row is not None and store is not None:
        return pipeline_run_view(project, found.row, store)
    if found.listed is not None and store is not None:
        return stored_view(project, found.listed, store)
    assert found.folder is not None
    assert found.description is not None
    summary = summary_of(found.folder, found.description)
    return block_view(project, found.folder, found.description, summary)


def _described(project: Project, text: str) -> Iterable[tuple[Path, RunDescription]]:
    """Give the runs that a text may mean; an id means the one of that folder."""
    folder = project.home / "runs" / text
    if not re.fullmatch(r"[0-9a-f]{32}", text) or (found := load_description(folder)) is None:
        return described_runs(project)
    return [(folder, found)]


def _find_row(
    store: Store | None, text: str
) -> tuple[PipelineRunRow | None, RunNotFoundError | None]:
    if store is None:
        return None, None
    try:
        return store.find_pipeline_run(text), None
    except RunNotFoundError as error:
        return None, error


def _answers_to(description: RunDescription, text: str) -> bool:
    run = description.run
    is_pipelines_own = run.step is None and run.pipeline is not None
    by_name = (_own_name(description) or "").startswith(text)
    return bool(text) and not is_pipelines_own and (by_name or run.id.startswith(text))


def _own_name(description: RunDescription) -> str | None:
    return description.run.name if description.run.step is None else None


def _of_block(folder: Path, description: RunDescription) -> FoundRun:
    run = description.run
    return FoundRun(run.id, run.name, folder=folder, description=description)


def _nothing(project: Project, text: str) -> str:
    names = [_own_name(found) or "" for _, found in described_runs(project)]
    latest = next((name for name in reversed(names) if name), None)
    hint = f"; the latest is {latest!r}" if latest else f"; there are none in {project.root} yet"
    return f"no run has the name, id or prefix {text!r}{hint}"
