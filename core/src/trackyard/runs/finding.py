"""Which run does a name, an id or a prefix mean?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from trackyard.contract.errors import RunNotFoundError
from trackyard.journal.descriptions import RunDescription, load_description
from trackyard.journal.pending import is_indexed, to_be_indexed_folders
from trackyard.project.configuration import Project
from trackyard.runs.folders import described_runs, folders_of_runs
from trackyard.runs.lists import summary_of, with_unreachable
from trackyard.runs.views import RunView, annotated, block_view, pipeline_run_view, stored_view
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
    rows = find_rows(store, text) if store is not None and is_indexed(project.home) else None
    described = list(_described(project, text, rows))
    waiting = {folder.name for folder in to_be_indexed_folders(project.home)} if rows else ()
    if rows and not any(f.name in waiting and _answers_to(d, text) for f, d in described):
        return _of_rows(project, store, rows, text)
    row, problem = _find_row(store, text)
    if row is not None and text in (row.id, row.name):
        return FoundRun(row.id, row.name, row=row)
    blocks = [item for item in described if _answers_to(item[1], text)]
    exact = [item for item in blocks if text in (item[1].run.id, _own_name(item[1]))]
    if exact:
        return _of_block(*exact[-1])
    if row is not None:
        return FoundRun(row.id, row.name, row=row)
    if len(blocks) > 1:
        names = ", ".join(f"{found.run.name} ({found.run.id})" for _, found in blocks[-5:])
        raise RunNotFoundError(f"several runs begin with {text!r}: {names}")
    if not blocks:
        if problem is not None and store is not None and store.list_pipeline_runs(most=1):
            raise problem
        raise RunNotFoundError(_nothing(project, text))
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


def _of_rows(project: Project, store: Store | None, rows: list[ListedRow], text: str) -> FoundRun:
    """Give the run that rows of the store's index stand for.

    Raises:
        RunNotFoundError: A prefix fits several.
    """
    if len(rows) > 1:
        names = ", ".join(f"{row.name} ({row.id})" for row in reversed(rows[:5]))
        raise RunNotFoundError(f"several runs begin with {text!r}: {names}")
    (row,) = rows
    if row.kind == "pipeline" and store is not None:
        return FoundRun(row.id, row.name, row=store.find_pipeline_run(row.id))
    folder = project.home / "runs" / row.id
    description = load_description(folder)
    if description is not None:
        return FoundRun(row.id, description.run.name, folder=folder, description=description)
    return FoundRun(row.id, row.name, listed=row)


def view_of(project: Project, store: Store | None, found: FoundRun) -> RunView:
    """Describe a run that was found.

    Args:
        project: The project.
        store: Its store; None where it has none yet.
        found: The run.
    """
    view = _unannotated(project, store, found)
    if store is None:
        return view
    from trackyard.store.annotations import said_of

    view = annotated(view, said_of(store, found.id))
    (view,) = with_unreachable(project, [view])
    return attrs.evolve(view, steps=tuple(with_unreachable(project, [*view.steps])))


def _unannotated(project: Project, store: Store | None, found: FoundRun) -> RunView:
    if found.row is not None and store is not None:
        return pipeline_run_view(project, found.row, store)
    if found.listed is not None and store is not None:
        return stored_view(project, found.listed, store)
    assert found.folder is not None
    assert found.description is not None
    summary = summary_of(found.folder, found.description)
    return block_view(project, found.folder, found.description, summary)


def _described(
    project: Project, text: str, rows: list[ListedRow] | None
) -> Iterable[tuple[Path, RunDescription]]:
    """Give the runs that a text may mean; an id means the one of that folder.

    Args:
        project: The project.
        text: The text.
        rows: What the store's index finds; None where there is none, and every folder counts.
    """
    runs = project.home / "runs"
    if re.fullmatch(r"[0-9a-f]{32}", text) and (found := load_description(runs / text)) is not None:
        return [(runs / text, found)]
    if rows is None:
        return described_runs(project)
    folders = {runs / row.id for row in rows} | {*to_be_indexed_folders(project.home)}
    described = ((folder, load_description(folder)) for folder in sorted(folders))
    return [(folder, found) for folder, found in described if found is not None]


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
    described = map(load_description, reversed(folders_of_runs(project)))
    names = ((_own_name(found) or "") for found in described if found is not None)
    latest = next((name for name in names if name), None)
    hint = f"; the latest is {latest!r}" if latest else f"; there are none in {project.root} yet"
    return f"no run has the name, id or prefix {text!r}{hint}"
