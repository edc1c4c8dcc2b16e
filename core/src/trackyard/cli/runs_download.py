"""`trackyard runs download`: how does one get the files that a run logged?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import click

from trackyard.cli.completing import run_names
from trackyard.cli.output import json_option, say, show_json
from trackyard.client import Client
from trackyard.contract.errors import ArtifactNotFoundError, TrackyardError
from trackyard.runs.artifacts import Artifacts, LoggedFile
from trackyard.runs.reading_back import TIMEOUT, reading_within
from trackyard.system.showing import is_shown


@click.command()
@click.argument("run", shell_complete=run_names)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="The folder; the working directory by default.",
)
@click.option(
    "--timeout",
    default=TIMEOUT,
    show_default=True,
    help="Seconds that a tracker may take where the files are asked of it.",
)
@json_option
def download(run: str, names: tuple[str, ...], folder: Path, timeout: float, as_json: bool) -> None:
    """Save the files that RUN logged, or those of the NAMEs, below a folder.

    RUN is a name, an id or a prefix that fits one run alone; NAME is that of a file, or of a folder
    of files. They come from the run's journal, or from a tracker where that was collected. A file
    that is there already is replaced.
    """
    with reading_within(timeout):
        saved = _saved(Client().get_run(run).artifacts, names, folder)
    if as_json:
        show_json(saved)
        return
    for row in saved:
        say(f"{row['path']}  {row['size']} bytes")
    if not saved:
        say(f"run {run!r} has logged no files")


def _saved(artifacts: Artifacts, names: tuple[str, ...], folder: Path) -> list[dict[str, Any]]:
    """Save files; give what is shown of each."""
    wanted = [file for name in names for file in _named(artifacts, name)]
    saved = []
    for file in wanted if names else artifacts.values():
        try:
            path = file.save(_folder(folder))
        except OSError as error:
            raise TrackyardError(f"{folder}: cannot be written: {error.strerror}") from error
        saved.append({**attrs.asdict(file, recurse=False, filter=is_shown), "path": str(path)})
    return saved


def _folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _named(artifacts: Artifacts, name: str) -> list[LoggedFile]:
    try:
        return [artifacts[name]]
    except ArtifactNotFoundError:
        if any(known.startswith(f"{name.rstrip('/')}/") for known in artifacts):
            return list(artifacts.in_folder(name).values())
        raise
