"""`trackyard log`: how does a shell script log into the run that it belongs to?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trackyard.cli.groups import LazyGroup
from trackyard.cli.output import json_option, show_json
from trackyard.contract.errors import NoActiveRunError
from trackyard.system.environment import named_run_id
from trackyard.tracking.calls import ActiveRun, current_run

_COMMANDS = {
    "metric": ("trackyard.cli.log_command:metric", "Log a number."),
    "param": ("trackyard.cli.log_command:param", "Log an input."),
    "tag": ("trackyard.cli.log_command:tag", "Set a label."),
    "artifact": ("trackyard.cli.log_command:artifact", "Log a file or folder."),
}


@click.group(cls=LazyGroup, commands_by_name=_COMMANDS)
def log() -> None:
    """Log into the run that TRACKYARD_RUN_ID names, as inside `trackyard exec`."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("value", type=float)
@click.option("--step", type=float, help="The training step.")
@json_option
def metric(key: str, value: float, step: float | None, as_json: bool) -> None:
    """Log the number VALUE, such as: trackyard log metric loss 0.25 --step 3."""
    whole = step is not None and step.is_integer()
    step = int(step or 0) if whole else step
    _run().log_metric(key, value, step)
    _show("metric", key, value, step, as_json=as_json)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("value")
@json_option
def param(key: str, value: str, as_json: bool) -> None:
    """Log the input VALUE, such as: trackyard log param rate 0.1."""
    _run().log_param(key, value)
    _show("param", key, value, as_json=as_json)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("value")
@json_option
def tag(key: str, value: str, as_json: bool) -> None:
    """Set the label VALUE, such as: trackyard log tag stage baseline."""
    _run().set_tag(key, value)
    _show("tag", key, value, as_json=as_json)


@click.command()
@click.argument("path", type=click.Path(exists=True))
@click.option("--name", help="Where it belongs in the run; its own name by default.")
@click.option("--final", is_flag=True, help="Nobody changes it any more: link it if possible.")
@json_option
def artifact(path: str, name: str | None, final: bool, as_json: bool) -> None:
    """Log the file or folder PATH as it is now."""
    _run().log_artifact(path, name, final=final)
    _show("artifact", name or Path(path).name, path, as_json=as_json)


def _run() -> ActiveRun:
    if named_run_id() is None:
        raise NoActiveRunError(
            "no run is active: TRACKYARD_RUN_ID names none; run the script that logs as a tracked "
            "command, type: trackyard exec -- COMMAND"
        )
    run = current_run()
    if run.is_muted:
        raise NoActiveRunError(f"TRACKYARD_RUN_ID={named_run_id()}: this run has ended")
    return run


def _show(kind: str, key: str, value: Any, step: float | None = None, *, as_json: bool) -> None:
    """Say what was logged, to a program; people asked for nothing to read."""
    if as_json:
        run = _run().id
        show_json({"run": run, "kind": kind, "key": key, "value": value, "step": step})
