"""What do flavors share whose backend is a folder of this machine?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trackyard.contract.errors import RetryLater
from trackyard.project.configuration import home

_LONGEST = 60  # characters, which leaves room for what makes a name the only one


def in_home(name: str) -> Callable[[], Path]:
    """Make the factory of a field whose default is a folder in `.trackyard/`.

    Args:
        name: The folder's name.
    """

    def folder() -> Path:
        return home() / name

    folder.__doc__ = f"`{name}` in `.trackyard/`."  # in the docs, as the default
    return folder


def beside_home(path: str | Path) -> Path:
    """Let a relative path begin beside `.trackyard/`, wherever a step moves the process to.

    It is the converter of a field that holds a path.

    Args:
        path: As the user wrote it; `~` is the user's folder.
    """
    return home().parent / Path(path).expanduser()


def name_on_disk(text: str) -> str:
    """Give a name of a file or a folder that tells what a text says; other texts may have it, too.

    Args:
        text: Such as a run's name.
    """
    return re.sub(r"[^\w.=+-]", "_", text).lstrip(".")[:_LONGEST] or "_"


def folder_problems(folder: Path, field: str) -> list[str]:
    """Say what `tracker_check` says of a folder that cannot be written; make it where it can.

    Args:
        folder: The folder.
        field: The field that names it.
    """
    probe = folder / ".trackyard-check"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        return [f"{field} cannot be written: {error}"]
    return []


@contextmanager
def retried_later() -> Iterator[None]:
    """Have core call the hook again where the disk fails in the block: it may be full for a while.

    Raises:
        RetryLater: A call of the system failed.
    """
    try:
        yield
    except OSError as error:
        raise RetryLater(str(error)) from error
