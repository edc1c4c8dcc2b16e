"""What is left of a run whose folder was collected, so that its trackers can be asked for it?

One small file: the run, its trackers as they were, and what each flavor has written down about
where the run is, such as ids. A team's store has the same text, for those whose machine never had
the folder.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path, PurePosixPath

from trackyard.contract.errors import refuse_newer
from trackyard.journal.descriptions import folder_names, load_description
from trackyard.system.files import make_private_folder, write_whole

FORMAT = 1
_RUN = "run.json"
# Of a file of a flavor, in bytes: ids and addresses take less; what takes more is data.
_LARGEST = 8 * 1024


def keep_remains(folder: Path) -> None:
    """Write down what is to be left of a run; before its folder is deleted.

    Raises:
        OSError: It cannot be written.
    """
    text = remains_of(folder)
    if _place(folder).parent.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, f"{_place(folder).parent} is a link")
    make_private_folder(_place(folder).parent)
    write_whole(_place(folder), text)


def remains_of(folder: Path) -> str:
    """Give what is to be left of a run as a text.

    Args:
        folder: The run's folder.
    """
    return json.dumps({"format": FORMAT, "files": _small_files(folder)})


def forget_remains(folder: Path) -> None:
    """Delete what is left of a run."""
    _place(folder).unlink(missing_ok=True)


def lay_out(folder: Path, target: Path) -> Path:
    """Lay out what is left of a run, or what its folder has of it, in a folder of that name.

    Args:
        folder: The run's folder, which may be gone.
        target: The folder to make it in.

    Returns:
        The folder of the run, which is not there where nothing is left.

    Raises:
        NewerFormatError: A newer Trackyard wrote it.
    """
    files = _small_files(folder) if (folder / _RUN).is_file() else _kept(folder)
    return _laid_out(files, target / folder.name)


def lay_out_text(text: str, place: Path) -> None:
    """Lay out what a team's store says is left of a run.

    Args:
        text: As `remains_of` gave it, on another machine.
        place: The folder to make, which bears the run's id.

    Raises:
        NewerFormatError: A newer Trackyard wrote it.
    """
    _laid_out(_files_in(text, place), place)


def _laid_out(files: dict[str, str], place: Path) -> Path:
    for name, text in files.items():
        parts = PurePosixPath(name).parts
        if len(parts) <= 2 and not any(part.startswith((".", "/")) for part in parts):
            make_private_folder((place / name).parent)
            write_whole(place / name, text)
    return place


def _small_files(folder: Path) -> dict[str, str]:
    """Read what is no journal, by name in the folder."""
    below = [folder / tracker for tracker in folder_names(load_description(folder))]
    files = [path for place in below if place.is_dir() for path in sorted(place.iterdir())]
    texts = {path: _text(path) for path in (folder / _RUN, *files)}
    return {
        path.relative_to(folder).as_posix(): text
        for path, text in texts.items()
        if text is not None
    }


def _text(path: Path) -> str | None:
    try:
        is_small = path.name == _RUN or path.stat().st_size <= _LARGEST
        if path.is_symlink() or not path.is_file() or not is_small:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _kept(folder: Path) -> dict[str, str]:
    try:
        return _files_in(_place(folder).read_text(encoding="utf-8"), _place(folder))
    except OSError:
        return {}


def _files_in(text: str, place: Path) -> dict[str, str]:
    try:
        kept = json.loads(text)
        refuse_newer(place, kept["format"], FORMAT)
        return {str(name): str(text) for name, text in kept["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _place(folder: Path) -> Path:
    return folder.parent.parent / "collected" / f"{folder.name}.json"
