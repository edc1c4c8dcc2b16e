"""`trackyard runs list`: which runs are there?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs
import click

from trackyard.cli.completing import run_names, tracker_names
from trackyard.cli.options import as_mapping, moment_option, pairs
from trackyard.cli.output import in_seconds, json_option, remark, show_json, show_table
from trackyard.journal.pending import pending_folders
from trackyard.project.configuration import Project, find_project
from trackyard.runs.lists import RunSummary, list_runs as list_of_runs, nanoseconds
from trackyard.store.listing import SORT_KEYS, RunFilter
from trackyard.system.showing import in_a_cell
from trackyard.system.users import user_name

_COLUMNS = {
    "name": "NAME",
    "pipeline": "PIPELINE",
    "status": "STATUS",
    "seconds": "SECONDS",
    "started_at": "STARTED",
}
# Where the command keeps what was typed for it.
_TYPED = "trackyard.runs_list.typed"
_TEXTS = ("name", "pipeline", "status")
_COUNT = click.IntRange(1, 1_000_000)  # their product must be a number that databases take
_STATUSES = ("running", "finished", "failed", "killed", "crashed")


class _SavedList(click.Command):
    """A command whose first word may be the name of a list: it stands for what was typed then."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put what was saved in the place of its name."""
        words = list(args)
        if words and not words[0].startswith("-") and not ctx.resilient_parsing:
            words[:1] = _saved_words(words[0])
        ctx.meta[_TYPED] = list(words)
        return super().parse_args(ctx, words)


@click.command("list", cls=_SavedList)
@click.argument("saved", required=False)
@click.option("--pipeline", help="Only runs of this pipeline, or of this experiment without one.")
@click.option(
    "--status", multiple=True, type=click.Choice(_STATUSES), help="Only these; may be repeated."
)
@click.option(
    "--experiment-tracker",
    "--tracker",
    "tracker",
    shell_complete=tracker_names,
    help="Only runs that use this tracker.",
)
@click.option("--user", help="Only runs that this user made.")
@click.option("--commit", metavar="SHA", help="Only runs from a commit that begins so.")
@click.option(
    "--tag",
    "tags",
    multiple=True,
    callback=pairs,
    metavar="KEY=VALUE",
    help="Only runs with this tag; may be repeated.",
)
@moment_option("--since", help="Only runs that started then or later: 2026-01-31, or 7d ago.")
@moment_option("--until", help="Only runs that started before then.")
@click.option(
    "--parent",
    metavar="RUN",
    shell_complete=run_names,
    help="Only child runs of this run, or of its steps; they are not listed else.",
)
@click.option(
    "--sort",
    default="started",
    show_default=True,
    metavar="KEY",
    help=f"{', '.join(SORT_KEYS)}, or one such as metrics.loss, params.rate.",
)
@click.option(
    "--filter", "filter_", metavar="TEXT", help="Such as metrics.loss < 0.1 and params.rate = 0.2"
)
@click.option("--least", metavar="METRIC", help="Sort by the least value, as of metrics.loss.")
@click.option("--columns", metavar="NAMES", help="More columns: params.rate,metrics.loss,...")
@click.option("--reverse", is_flag=True, help="Turn the order round.")
@click.option("-n", "--limit", type=_COUNT, default=20, show_default=True, help="How many.")
@click.option("--page", type=_COUNT, default=1, show_default=True, help="Which page.")
@click.option("--as", "name", metavar="NAME", help="Save it by a name: trackyard runs list NAME")
@json_option
@click.pass_context
def list_runs(
    context: click.Context, /, *, saved: str | None, name: str | None, **options: Any
) -> None:
    """List runs of pipelines and of `start_run` blocks, the latest first.

    SAVED is the name of a list that was saved with --as, before any option.
    """
    if saved is not None:
        raise click.UsageError(f"the name of a saved list stands first: runs list {saved} ...")
    _list(**options)
    if name is not None:
        _save(name, context.meta[_TYPED])


def _list(
    *,
    status: tuple[str, ...],
    sort: str,
    reverse: bool,
    limit: int,
    page: int,
    as_json: bool,
    pipeline: str | None,
    tracker: str | None,
    since: datetime | None,
    until: datetime | None,
    parent: str | None,
    user: str | None,
    commit: str | None,
    tags: tuple[str, ...],
    **search: str | None,
) -> None:
    project = find_project()
    _look_after_dead_runs(project)
    if any(search.values()) or "." in sort:
        for option, value in (("--experiment-tracker", tracker), ("--parent", parent)):
            if value is not None:
                raise click.UsageError(f"{option} cannot be combined with a search; leave it out")
        texts = {"pipeline": pipeline, "user": user, "commit": commit}
        moments = {">=": nanoseconds(since), "<": nanoseconds(until)}
        conditions = _conditions(texts, status, as_mapping(tags), moments)
        if search["filter_"]:
            conditions.append(f"({search['filter_']})")
        search["filter_"] = " and ".join(conditions)
        _show_found(project, search, sort, reverse=reverse, most=(limit, page), as_json=as_json)
        return
    if sort not in SORT_KEYS:
        raise click.BadParameter(f"{sort!r} is none of {', '.join(SORT_KEYS)}", param_hint="--sort")
    wanted = RunFilter(
        pipeline=pipeline,
        statuses=status,
        tracker=tracker,
        since=nanoseconds(since),
        until=nanoseconds(until),
        sort=sort,
        is_ascending=(sort in _TEXTS) != reverse,
        most=limit + 1,
        skip=(page - 1) * limit,
        parents=_ids_of(project, parent),
        user=user,
        commit=commit,
        tags=tuple(as_mapping(tags).items()),
    )
    _show_listed(project, wanted, most=(limit, page), as_json=as_json)


def _saved_words(name: str) -> list[str]:
    """Give what was typed for a list that was saved."""
    from trackyard.store import Store
    from trackyard.store.saved import words_of_list

    store = Store.of(find_project())
    try:
        return words_of_list(store, name)
    finally:
        store.close()


def _save(name: str, typed: list[str]) -> None:
    """Save what was typed, but for the name and for what is of this time alone."""
    from trackyard.store import Store
    from trackyard.store.saved import save_list

    words = _without(_without(typed, "--as"), "--page")
    store = Store.of(find_project())
    try:
        save_list(store, name, [word for word in words if word != "--json"], user_name())
    finally:
        store.close()
    remark(f"saved; to see it again, type: trackyard runs list {shlex.quote(name)}")


def _without(words: list[str], option: str) -> list[str]:
    """Leave an option out, with its value."""
    kept: list[str] = []
    is_value = False
    for word in words:
        if not is_value and word != option and not word.startswith(f"{option}="):
            kept.append(word)
        is_value = word == option and not is_value
    return kept


def _show_listed(
    project: Project, wanted: RunFilter, *, most: tuple[int, int], as_json: bool
) -> None:
    """Show one page of the runs that are wanted, of which there may be one more."""
    limit, page = most
    found = list_of_runs(project, wanted)
    rows = found[:limit]
    if as_json:
        show_json(rows)
        return
    cells = [
        {**attrs.asdict(row), "seconds": in_seconds(row.seconds), "started_at": started(row)}
        for row in rows
    ]
    show_table(cells, _COLUMNS, as_json=False, empty=f"no run is stored in {project.root}")
    if len(found) > limit:
        remark(f"there are more; add: --page {page + 1}")


def _conditions(
    texts: Mapping[str, str | None],
    statuses: tuple[str, ...],
    tags: Mapping[str, str],
    moments: Mapping[str, int | None],
) -> list[str]:
    """Write options that choose runs in the language of `--filter`."""
    found = []
    for name, text in texts.items():
        if text is not None:
            is_commit = name == "commit"  # its beginning is enough
            found.append(
                f"{name} LIKE {_quoted(text + '%')}" if is_commit else f"{name} = {_quoted(text)}"
            )
    if statuses:
        found.append(f"status IN ({', '.join(map(_quoted, statuses))})")
    found += [f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items()]
    found += [
        f"start_time {sign} {moment / 1_000_000}"
        for sign, moment in moments.items()
        if moment is not None
    ]
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _show_found(
    project: Project,
    search: Mapping[str, str | None],
    sort: str,
    *,
    reverse: bool,
    most: tuple[int, int],
    as_json: bool,
) -> None:
    """Show what a search finds: `filter_`, `least` and `columns` as they were typed."""
    from trackyard.runs.searching import search_runs  # with a parser, which costs

    filter_, least, columns = (search[name] for name in ("filter_", "least", "columns"))
    limit, page = most
    key = least or (sort if "." in sort else _ATTRIBUTES.get(sort, "start_time"))
    is_descending = (key == "start_time") != reverse
    found = search_runs(
        project,
        filter_ or "",
        f"{key} DESC" if is_descending else key,
        limit=limit,
        page=page,
        side="least" if least else "last",
    )
    if as_json:
        show_json(list(found))
        return
    more = [name.strip() for name in (columns or "").split(",") if name.strip()]
    more += [key] if "." in key and key not in more else []
    cells = [
        {
            **{name: getattr(run, name) for name in ("name", "pipeline", "status")},
            "seconds": in_seconds(run.seconds),
            "started_at": f"{run.started_at:%Y-%m-%d %H:%M}",
            **{name: in_a_cell(run.value_of(name)) for name in more},
        }
        for run in found
    ]
    heads = {**_COLUMNS, **{name: name for name in more}}
    show_table(cells, heads, as_json=False, empty="no run fits")


# What a list is sorted by where a filter is given, too.
_ATTRIBUTES = {"ended": "end_time", "name": "name", "pipeline": "pipeline", "status": "status"}


def _ids_of(project: Project, parent: str | None) -> tuple[str, ...]:
    """Give the ids of a run and of its steps; none where none is named."""
    if parent is None:
        return ()
    from trackyard.runs.finding import ids_with_steps  # with the store, which costs

    return ids_with_steps(project, parent)


def started(row: RunSummary) -> str:
    """Write when a run started, to the minute."""
    return f"{row.started_at:%Y-%m-%d %H:%M}"


def _look_after_dead_runs(project: Project) -> None:
    """Do as every command does; here it is imported only where something is pending."""
    if pending_folders(project.home):
        from trackyard.recovery.finishing import recover_in_background

        recover_in_background(project)
