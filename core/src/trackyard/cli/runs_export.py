"""`trackyard runs export`: how do other programs get a run?"""

from __future__ import annotations

from pathlib import Path

import click

from trackyard.cli.completing import run_names
from trackyard.cli.output import is_terminal, json_option, say, show_json
from trackyard.client import Client
from trackyard.runs.exporting import EXPORT_FORMATS, ExportFormat, export_text, format_of
from trackyard.system.showing import line


@click.command()
@click.argument("runs", nargs=-1, required=True, shell_complete=run_names)
@click.option(
    "--format",
    type=click.Choice(EXPORT_FORMATS),
    help="By the file's name, else json; Parquet needs: pip install 'trackyard[parquet]'.",
)
@click.option(
    *("-o", "--output", "file"),
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; stdout by default.",
)
@json_option
def export(
    runs: tuple[str, ...], format: ExportFormat | None, file: Path | None, as_json: bool
) -> None:
    """Write RUNS with every point of their metrics, as JSON, CSV or Parquet.

    CSV and Parquet have a row for each param, tag, point of a metric, and artifact. With --json,
    what was written is named as JSON; without a file it is the export itself.
    """
    client = Client()
    chosen = format or (format_of(file) if file else None) or "json"
    if file is None:
        if chosen == "parquet":
            raise click.UsageError("Parquet is no text; type: --output FILE.parquet")
        views = [client.get_run(run) for run in runs]
        for text in export_text(views, "json" if as_json else chosen):
            # On a terminal what was logged must not move the cursor.
            shown = "\n".join(map(line, text.split("\n"))) if is_terminal() else text
            click.echo(shown, nl=False)
        return
    client.export_runs(*runs, file=file, format=chosen)
    if as_json:
        show_json({"file": str(file), "format": chosen, "runs": len(runs)})
    else:
        say(f"wrote {len(runs)} run(s) to {file}")
