"""`trackyard stack`: how are stacks registered, shown, changed, moved and removed?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
import click

from trackyard.cli.completing import orchestrator_names, stack_names, tracker_names
from trackyard.cli.fields_command import FieldsCommand, configured_value, given_fields, option_value
from trackyard.cli.options import as_mapping, label_option, labels_option, new_name
from trackyard.cli.output import json_option, remark, say, show_json, show_table, show_values
from trackyard.client import Client
from trackyard.hooks.discovery import load_orchestrator
from trackyard.project.fields import fields_of
from trackyard.registry.components import StackView
from trackyard.system.suggestions import listed

_COLUMNS = {
    "name": "NAME",
    "is_active": "ACTIVE",
    "experiment_trackers": "EXPERIMENT TRACKERS",
    "orchestrator": "ORCHESTRATOR",
    "artifact_store": "ARTIFACT STORE",
}

_orchestrator = click.option(
    "-o", "--orchestrator", shell_complete=orchestrator_names, help="What runs the steps."
)
_artifact_store = click.option("-a", "--artifact-store", help="Folder or URL for outputs of steps.")
_trackers = click.option(
    "-e",
    "--experiment-tracker",
    "experiment_trackers",
    multiple=True,
    shell_complete=tracker_names,
    help="Its experiment trackers, in order; several.",
)


_capture = click.option(
    "--capture",
    multiple=True,
    metavar="FLAVOR[=FOLDER]",
    help="Flavors whose SDK's own calls reach its trackers, or files of one in FOLDER; several.",
)


def _named_orchestrator(args: list[str]) -> type | None:
    name = option_value(args, "--orchestrator", "-o")
    cls = load_orchestrator(name) if name else None
    return cls if cls is not None and attrs.has(cls) else None


def _orchestrator_of_stack(args: list[str]) -> type | None:
    if option_value(args, "--orchestrator", "-o"):
        return _named_orchestrator(args)
    name = configured_value("stacks", args, "orchestrator")
    return _named_orchestrator(["-o", name]) if name else None


@click.command(cls=FieldsCommand, find_flavor=_named_orchestrator, are_needed=True, options=None)
@click.argument("name", callback=new_name)
@_trackers
@_capture
@_orchestrator
@_artifact_store
@label_option
@click.option("--set", "is_set", is_flag=True, help="Make it the active stack.")
@json_option
@click.pass_context
def register(
    ctx: click.Context,
    /,
    *,
    name: str,
    experiment_trackers: tuple[str, ...],
    capture: tuple[str, ...],
    orchestrator: str | None,
    artifact_store: str | None,
    label: tuple[str, ...],
    is_set: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Register the stack NAME; the first one becomes active.

    What an orchestrator takes are options, too; `register NAME -o process --help` shows them.
    """
    values = _given(capture, orchestrator, artifact_store) | given_fields(ctx, fields)
    labels: dict[str, Any] = {"labels": as_mapping(label)} if label else {}
    client = Client()
    view = client.register_stack(name, experiment_trackers, **values, **labels)
    if is_set:
        view = client.set_active_stack(name)
    if as_json:
        show_json(view)
        return
    say(f"registered stack {name!r} in {view.place.partition(': ')[0]}")
    if not view.is_active:
        remark(f"Note: it is not the active stack; type: trackyard stack set {name}")


@click.command("list")
@labels_option
@json_option
def list_stacks(label: tuple[str, ...], as_json: bool) -> None:
    """List the stacks."""
    rows = Client().list_stacks(as_mapping(label))
    show_table(rows, _COLUMNS, as_json=as_json, empty="no stack has these labels")


@click.command()
@click.argument("name", required=False, shell_complete=stack_names)
@json_option
def describe(name: str | None, as_json: bool) -> None:
    """Show the stack NAME, or the active one."""
    show_values(Client().get_stack(name), as_json=as_json)


@click.command("set")
@click.argument("name", shell_complete=stack_names)
@json_option
def set_stack(name: str, as_json: bool) -> None:
    """Make the stack NAME the active one."""
    view = Client().set_active_stack(name)
    if as_json:
        show_json(view)
        return
    say(f"the active stack is {name!r}")


@click.command(cls=FieldsCommand, find_flavor=_orchestrator_of_stack, options=None)
@click.argument("name", shell_complete=stack_names)
@_trackers
@click.option(
    "--add-experiment-tracker",
    "added",
    multiple=True,
    shell_complete=tracker_names,
    help="One more; several.",
)
@click.option(
    "--remove-experiment-tracker",
    "removed",
    multiple=True,
    shell_complete=tracker_names,
    help="One less; several.",
)
@_capture
@_orchestrator
@_artifact_store
@label_option
@json_option
@click.pass_context
def update(
    ctx: click.Context,
    /,
    *,
    name: str,
    experiment_trackers: tuple[str, ...],
    added: tuple[str, ...],
    removed: tuple[str, ...],
    capture: tuple[str, ...],
    orchestrator: str | None,
    artifact_store: str | None,
    label: tuple[str, ...],
    as_json: bool,
    **fields: Any,
) -> None:
    """Change the stack NAME. What is given replaces what is there; labels are joined.

    `update NAME --help` shows what its orchestrator takes.
    """
    client = Client()
    before = client.get_stack(name)
    _check_left_over(before, orchestrator)
    values = _given(capture, orchestrator, artifact_store) | given_fields(ctx, fields)
    if experiment_trackers or added or removed:
        kept = [*(experiment_trackers or before.experiment_trackers), *added]
        missing = [tracker for tracker in removed if tracker not in kept]
        if missing:
            raise click.UsageError(f"stack {name!r} has no experiment tracker {missing[0]!r}")
        left = [tracker for tracker in dict.fromkeys(kept) if tracker not in removed]
        values["experiment_trackers"] = left
    if label:
        values["labels"] = {**before.labels, **as_mapping(label)}
    if not values:
        raise click.UsageError(f"nothing to set; type: trackyard stack update {name} --help")
    view = client.update_stack(name, **values)
    if as_json:
        show_json(view)
        return
    say(f"updated stack {name!r}: {', '.join(values)}")


def _given(
    capture: tuple[str, ...], orchestrator: str | None, artifact_store: str | None
) -> dict[str, Any]:
    values = {
        "capture": list(dict.fromkeys(capture)),
        "orchestrator": orchestrator,
        "artifact_store": artifact_store,
    }
    return {key: value for key, value in values.items() if value}


def _check_left_over(stack: StackView, orchestrator: str | None) -> None:
    """Say what to type first where another orchestrator does not take what is set."""
    if orchestrator in (None, stack.orchestrator):
        return
    cls = _named_orchestrator(["-o", orchestrator])
    taken = [field.name for field in fields_of(cls)] if cls else []
    left = [key for key in stack.options if key not in taken]
    if left:
        raise click.UsageError(
            f"orchestrator {orchestrator!r} does not take {listed(left)}; type first: "
            f"trackyard stack remove-attribute {stack.name} {' '.join(left)}"
        )


@click.command("remove-attribute")
@click.argument("name", shell_complete=stack_names)
@click.argument("attributes", nargs=-1, required=True)
@json_option
def remove_attribute(name: str, attributes: tuple[str, ...], as_json: bool) -> None:
    """Take ATTRIBUTES out of the stack NAME, so that their defaults count again."""
    keys = [attribute.replace("-", "_") for attribute in attributes]
    view = Client().remove_stack_attributes(name, *keys)
    if as_json:
        show_json(view)
        return
    say(f"updated stack {name!r}: removed {', '.join(keys)}")


@click.command()
@click.argument("name", shell_complete=stack_names)
@click.argument("new_name", callback=new_name)
@json_option
def rename(name: str, new_name: str, as_json: bool) -> None:
    """Give the stack NAME another name."""
    view = Client().rename_stack(name, new_name)
    if as_json:
        show_json(view)
        return
    say(f"renamed stack {name!r} to {new_name!r}")


@click.command()
@click.argument("name", shell_complete=stack_names)
@click.argument("new_name", callback=new_name)
@json_option
def copy(name: str, new_name: str, as_json: bool) -> None:
    """Register NEW_NAME with what the stack NAME says."""
    view = Client().copy_stack(name, new_name)
    if as_json:
        show_json(view)
        return
    say(f"registered stack {new_name!r} as a copy of {name!r}")


@click.command()
@click.argument("name", shell_complete=stack_names)
@json_option
def delete(name: str, as_json: bool) -> None:
    """Take the stack NAME out of the configuration; its experiment trackers stay."""
    Client().delete_stack(name)
    if as_json:
        show_json({"name": name, "is_deleted": True})
        return
    say(f"deleted stack {name!r}")


@click.command()
@click.argument("name", required=False, shell_complete=stack_names)
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@json_option
def export(name: str | None, file: Path | None, as_json: bool) -> None:
    """Write the stack NAME, or the active one, and its trackers as TOML, for `stack import`.

    It goes to FILE, or to stdout. Secrets stay references.
    """
    text = Client().export_stack(name)
    if file is not None:
        file.write_text(text, encoding="utf-8")
    if as_json:
        show_json({"toml": text, "file": str(file) if file else None})
    elif file is None:
        click.echo(text, nl=False)
    else:
        say(f"written to {file}")


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--name", help="Another name for the stack.")
@json_option
def import_stack(file: str, name: str | None, as_json: bool) -> None:
    """Register the stack, and its trackers, that `stack export` wrote to FILE (- for stdin)."""
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    view = Client().import_stack(text, name)
    if as_json:
        show_json(view)
        return
    trackers = ", ".join(repr(tracker) for tracker in view.experiment_trackers)
    say(f"registered stack {view.name!r}{f' with {trackers}' if trackers else ''}")
