"""`trackyard experiment-tracker`: how are trackers registered, shown, changed and removed?"""

from __future__ import annotations

import os
from typing import Any

import attrs
import click

from trackyard.cli.completing import flavor_names, tracker_names
from trackyard.cli.fields_command import FieldsCommand, configured_value, given_fields, option_value
from trackyard.cli.options import as_mapping, label_option, labels_option, new_name
from trackyard.cli.output import json_option, remark, say, show_json, show_table, show_values
from trackyard.client import Client
from trackyard.contract.flavors import notice_of
from trackyard.hooks.discovery import load_flavor
from trackyard.redaction.redactor import Redactor
from trackyard.registry.components import TrackerView

_COLUMNS = {
    "name": "NAME",
    "flavor": "FLAVOR",
    "is_active": "ACTIVE",
    "stacks": "STACKS",
    "labels": "LABELS",
}


def _named_flavor(args: list[str]) -> type | None:
    name = option_value(args, "--flavor", "-f")
    return load_flavor(name) if name else None


def _flavor_of_tracker(args: list[str]) -> type | None:
    name = configured_value("experiment_trackers", args, "flavor")
    return load_flavor(name) if name else None


@click.command(cls=FieldsCommand, find_flavor=_named_flavor, are_needed=True)
@click.argument("name", callback=new_name)
@click.option(
    "-f",
    "--flavor",
    required=True,
    shell_complete=flavor_names,
    help="Its flavor, or module:Class of your own.",
)
@label_option
@json_option
@click.pass_context
def register(
    ctx: click.Context,
    /,
    *,
    name: str,
    flavor: str,
    label: tuple[str, ...],
    as_json: bool,
    **fields: Any,
) -> None:
    """Register the experiment tracker NAME.

    The options are the fields of its flavor; `register NAME -f FLAVOR --help` shows them, and
    `--tracking_uri` is `--tracking-uri`. Secrets are references: env:NAME, file:PATH or
    keyring:SERVICE/USER.
    """
    table = given_fields(ctx, fields)
    labels = as_mapping(label)
    view = Client().register_experiment_tracker(
        name, flavor, **table, **({"labels": labels} if labels else {})
    )
    if as_json:
        show_json(_without_passwords(view))
        return
    say(f"registered experiment tracker {name!r} in {view.place.partition(': ')[0]}")
    _remark_on(view)


@click.command(cls=FieldsCommand, find_flavor=_flavor_of_tracker)
@click.argument("name", shell_complete=tracker_names)
@label_option
@json_option
@click.pass_context
def update(
    ctx: click.Context, /, name: str, label: tuple[str, ...], as_json: bool, **fields: Any
) -> None:
    """Set fields of the experiment tracker NAME; `update NAME --help` shows them.

    What is given replaces what is there, also lists and tables; labels are joined.
    """
    table = given_fields(ctx, fields)
    client = Client()
    if label:
        labels = client.get_experiment_tracker(name).labels
        table["labels"] = {**labels, **as_mapping(label)}
    if not table:
        raise click.UsageError(f"nothing to set; type: {ctx.command_path} {name} --help", ctx)
    view = client.update_experiment_tracker(name, **table)
    if as_json:
        show_json(_without_passwords(view))
        return
    say(f"updated experiment tracker {name!r}: {', '.join(table)}")
    _remark_on(view)


@click.command("list")
@labels_option
@json_option
def list_trackers(label: tuple[str, ...], as_json: bool) -> None:
    """List the configured experiment trackers. No flavor and no SDK is imported for this."""
    rows = Client().list_experiment_trackers(as_mapping(label))
    empty = "no experiment tracker is configured; type: trackyard experiment-tracker register"
    show_table(rows, _COLUMNS, as_json=as_json, empty=empty)


@click.command()
@click.argument("name", shell_complete=tracker_names)
@json_option
def describe(name: str, as_json: bool) -> None:
    """Show the experiment tracker NAME with all that is set; secrets are shown as references."""
    view = Client().get_experiment_tracker(name)
    if as_json:
        show_json(_without_passwords(view))
        return
    view = _without_passwords(view)
    fields = {f"fields.{key}": value for key, value in view.fields.items()}
    options = {f"options.{key}": value for key, value in view.options.items()}
    values = {"name": view.name, "flavor": view.flavor, "is_active": view.is_active}
    values |= {"stacks": view.stacks, "labels": view.labels, **fields, **options}
    show_values({**values, "place": view.place}, as_json=False)


@click.command()
@click.argument("name", shell_complete=tracker_names)
@click.argument("new_name", callback=new_name)
@json_option
def rename(name: str, new_name: str, as_json: bool) -> None:
    """Give the experiment tracker NAME another name, in its stacks, too."""
    view = Client().rename_experiment_tracker(name, new_name)
    if as_json:
        show_json(_without_passwords(view))
        return
    say(f"renamed experiment tracker {name!r} to {new_name!r}")


@click.command()
@click.argument("name", shell_complete=tracker_names)
@click.argument("new_name", callback=new_name)
@json_option
def copy(name: str, new_name: str, as_json: bool) -> None:
    """Register NEW_NAME with what the experiment tracker NAME says."""
    view = Client().copy_experiment_tracker(name, new_name)
    if as_json:
        show_json(_without_passwords(view))
        return
    say(f"registered experiment tracker {new_name!r} as a copy of {name!r}")


@click.command()
@click.argument("name", shell_complete=tracker_names)
@json_option
def delete(name: str, as_json: bool) -> None:
    """Take the experiment tracker NAME out of the configuration; its runs stay where they are."""
    Client().delete_experiment_tracker(name)
    if as_json:
        show_json({"name": name, "is_deleted": True})
        return
    say(f"deleted experiment tracker {name!r}")


@click.command("remove-attribute")
@click.argument("name", shell_complete=tracker_names)
@click.argument("attributes", nargs=-1, required=True)
@json_option
def remove_attribute(name: str, attributes: tuple[str, ...], as_json: bool) -> None:
    """Take ATTRIBUTES out of the experiment tracker NAME, so that their defaults count again."""
    keys = [attribute.replace("-", "_") for attribute in attributes]
    view = Client().remove_experiment_tracker_attributes(name, *keys)
    if as_json:
        show_json(_without_passwords(view))
        return
    say(f"updated experiment tracker {name!r}: removed {', '.join(keys)}")


def _remark_on(view: TrackerView) -> None:
    """Say what will stand in the way: a secret that is not there yet, a stack without it."""
    notice = notice_of(load_flavor(view.flavor))
    if notice:
        remark(f"Notice: {notice}")
    for key, value in view.fields.items():
        variable = value.removeprefix("env:") if isinstance(value, str) else ""
        if isinstance(value, str) and value.startswith("env:") and variable not in os.environ:
            remark(f"Note: {key} reads the environment variable {variable}, which is not set here.")
        if isinstance(value, str) and Redactor().redact(value) != value:
            remark(f"Note: {key} holds a password, which now stands in the file.")
    if not view.is_active:
        stack = Client().active_stack.name
        remark(
            f"Note: the active stack {stack!r} does not use it yet; type: trackyard stack update "
            f"{stack} --add-experiment-tracker {view.name}"
        )


def _without_passwords(view: TrackerView) -> TrackerView:
    """Take user names and passwords out of URLs."""
    redact = Redactor().redact_value
    fields = {
        key: redact(value) if isinstance(value, str) else value
        for key, value in view.fields.items()
    }
    return attrs.evolve(view, fields=fields)
