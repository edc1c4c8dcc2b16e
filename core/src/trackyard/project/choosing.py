"""Which folder says which project counts, where nobody names one in a call?

`TRACKYARD_PROJECT`, which `trackyard --project` sets; else the working directory, where a project
is there or above it; else the script's folder, likewise; else the working directory all the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from trackyard.contract.errors import ConfigError

VARIABLE = "TRACKYARD_PROJECT"


def starting_folder(has_project: Callable[[Path], bool]) -> Path:
    """Give the folder from which a project is looked for.

    Args:
        has_project: Tells whether a folder, or one above it, is a project.

    Raises:
        ConfigError: `TRACKYARD_PROJECT` names no folder, or the working directory is gone.
    """
    named = os.environ.get(VARIABLE)
    if named:
        folder = Path(os.path.abspath(Path(named).expanduser()))  # noqa: PTH100 - without `..`
        if not folder.is_dir():
            raise ConfigError(f"{VARIABLE}: {folder} is no folder; name the project's folder")
        return folder
    here = working_directory()
    scripts = script_folder()
    if scripts is not None and not has_project(here) and has_project(scripts):
        return scripts
    return here


def choose_project(folder: Path) -> None:
    """Let a project count for this process and all that it starts.

    Args:
        folder: A folder of the project.
    """
    os.environ[VARIABLE] = os.path.abspath(folder)  # noqa: PTH100 - without `..`


def working_directory() -> Path:
    """Give the working directory.

    Raises:
        ConfigError: Someone has deleted it.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "the working directory was deleted; change into one that is there: cd <folder>"
        ) from None


def script_folder() -> Path | None:
    """Give the folder of the user's script; None for a command that is installed, or a notebook."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(file, str):
        return None
    folder = Path(file).absolute().parent
    installed = {sys.prefix, sys.exec_prefix, sys.base_prefix, str(Path(__file__).parents[1])}
    return None if any(folder.is_relative_to(place) for place in installed) else folder
