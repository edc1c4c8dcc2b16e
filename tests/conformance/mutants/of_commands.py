"""Commands with one fault each; their correct twin is the example of the page."""

from __future__ import annotations

import json
from pathlib import Path

import click
from company_commands import slowest as right

from trackyard import Client, ConfigError, TrackyardError
from trackyard.contract import find_project, json_option, show_json, show_table


@click.command()
@json_option
def asks_for_what_runs_have_not(as_json: bool) -> None:
    """Read an attribute that no run has."""
    rows = [{"name": run.experiment} for run in Client().list_runs()]
    show_table(rows, {"name": "RUN"}, as_json=as_json, empty="no run")


@click.command()
@json_option
def writes_names_as_they_are(as_json: bool) -> None:
    """Write names past show_table."""
    names = [run.name for run in Client().list_runs()]
    if as_json:
        show_json(names)
    else:
        print("\n".join(names))


@click.command()
@json_option
def writes_names_by_click(as_json: bool) -> None:
    """Write names by click, which strips colours alone."""
    names = [run.name for run in Client().list_runs()]
    if as_json:
        show_json(names)
    else:
        click.echo("\n".join(names))


@click.command()
@json_option
def refuses_runs_without_a_metric(as_json: bool) -> None:
    """Show no run where one of them lacks what is shown."""
    runs = [Client().get_run(run.id) for run in Client().list_runs()]
    if any("accuracy" not in run.metrics for run in runs):
        raise TrackyardError("a run has no accuracy")
    show_json([run.name for run in runs if as_json])


@click.command()
@json_option
def writes_nan(as_json: bool) -> None:
    """Write a value that JSON does not have."""
    click.echo(json.dumps({"best": float("nan")}))


@click.command()
@json_option
def remarks_on_stdout(as_json: bool) -> None:
    """Write a remark before the JSON."""
    click.echo("looking ...")
    show_json(len(Client().list_runs()) if as_json else 0)


@click.command()
@click.argument("name", default="")
@json_option
def swallows_mistakes(name: str, as_json: bool) -> None:
    """Show nothing of a run that is not there."""
    show_json([run.name for run in Client().list_runs() if run.name == name and as_json])


@click.command()
@click.argument("name", default="")
@json_option
def raises_what_comes(name: str, as_json: bool) -> None:
    """Raise whatever Python raises."""
    show_json({"": 0}[name] if as_json else int(name or 0))


@click.command()
@click.option("--all", "is_all", is_flag=True)
@json_option
def leaves_an_option_alone(is_all: bool, as_json: bool) -> None:
    """Have an option without help."""
    if find_project().config_file is None:
        raise ConfigError("no project; type: trackyard init")
    show_json([is_all, as_json])


@click.command()
@json_option
def shows_nothing_of_a_project(as_json: bool) -> None:
    """Raise where there are no runs."""
    if not Client().list_runs():
        raise TrackyardError("no run; type: trackyard run")
    show_json(as_json)


@click.command()
@json_option
def wants_a_project(as_json: bool) -> None:
    """Take for granted that there is a project."""
    file = find_project().config_file.name
    show_json(file if as_json else 0)


@click.command()
@json_option
def looks_where_it_stands(as_json: bool) -> None:
    """Take the working directory for the project."""
    names = [file.name for file in Path(".trackyard").rglob("run.json")]
    show_json(names if as_json else len(names))


CAUGHT_BY = {
    "wants_a_project": "test_a_mistake_is_a_line",
    "looks_where_it_stands": "test_it_works_in_a_folder_below",
    "asks_for_what_runs_have_not": "test_runs_of_every_kind_are_shown",
    "writes_names_as_they_are": "test_runs_of_every_kind_are_shown",
    "writes_names_by_click": "test_runs_of_every_kind_are_shown",
    "refuses_runs_without_a_metric": "test_runs_of_every_kind_are_shown",
    "writes_nan": "test_json_is_json",
    "remarks_on_stdout": "test_json_is_json",
    "shows_nothing_of_a_project": "test_json_is_json",
    "swallows_mistakes": "test_a_mistake_is_a_line",
    "raises_what_comes": "test_a_mistake_is_a_line",
    "leaves_an_option_alone": "test_help_says_what_it_does",
    "runs": "test_it_is_found_by_its_entry_point",
}
# A name that core has itself.
runs = right
