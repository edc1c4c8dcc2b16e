"""How is a process started that helps: so that it imports nothing that merely lies about?

A worker, the watchdog and their like have modules of their own to import. A `logging.py` in the
working directory, which is first on the path of `python -m`, is none of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def helper_command(module: str, *arguments: str) -> list[str]:
    """Give the command that runs a module, without the working directory on its path.

    Args:
        module: The module's name.
        arguments: What it is told.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def bare_command(module: str, *arguments: str) -> list[str]:
    """Give the command that calls a module's `main`, at first without the installed packages.

    Finding those takes longer than all that most of these helpers do; see `add_packages`.

    Args:
        module: The module's name.
        arguments: What it is told, from `sys.argv[1]` on.
    """
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.append(sys.argv.pop(1)); from {module} import main; main()"
    return [sys.executable, "-S", "-P", "-c", code, root, *arguments]


def add_packages() -> None:
    """Make installed packages importable where a `bare_command` has begun without them."""
    if sys.flags.no_site and "site" not in sys.modules:
        import site

        site.main()


def helper_path(root: Path) -> list[str]:
    """Give this process's path for a helper: what belongs to the project comes last.

    That is where `module:Class` of its configuration is found, in this project before others.

    Args:
        root: The project's folder.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = os.path.dirname(os.path.abspath(script)) if script else None  # noqa: PTH100, PTH120
    places = [os.path.abspath(place) for place in sys.path]  # noqa: PTH100 - "" is one of them
    own = {str(root), os.getcwd(), folder}  # noqa: PTH109
    first = [place for place in places if place not in own]
    return [*dict.fromkeys((*first, str(root), *(place for place in places if place in own)))]
