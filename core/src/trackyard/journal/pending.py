"""Which runs may still lack something on some tracker?

One empty file per run in `.trackyard/pending/`, so that the question costs one listing, however
many runs there are. A file that is left over is harmless: sync looks and removes it.
`.trackyard/offline/` has likewise the runs that are whole, but that an SDK keeps on this machine
until `trackyard sync` uploads them, `.trackyard/lacking/` those of which a tracker has refused
something, or something is lost, until somebody accepts that, and `.trackyard/unindexed/` those of
which the store lacks something, since it was away, and `.trackyard/unshared/` those whose journals
a team's artifact store lacks: there each file says what it has.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the watchdog reads this, of most scripts, and `pathlib` would cost 15 ms
if TYPE_CHECKING:
    from pathlib import Path

# Where a file stands for each run that recovery may have to do something for.
UNFINISHED = ("pending", "unindexed", "unshared")
# Versions before the index left folders of which it knows nothing.
INDEXED = "indexed"


def mark_as_pending(run_folder: Path) -> None:
    """Note that a run is about to be delivered."""
    folder = _folder_of(run_folder)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _touch(folder / run_folder.name)
    except OSError as error:  # the run goes on; nothing but the memory of it is lost
        _say("%s cannot be marked as pending: %s", run_folder, error)


def mark_as_complete(run_folder: Path) -> None:
    """Note that every tracker has the whole run."""
    try:
        (_folder_of(run_folder) / run_folder.name).unlink(missing_ok=True)
    except OSError as error:
        _say("%s cannot be marked as complete: %s", run_folder, error)


def pending_folders(home: Path) -> list[Path]:
    """Give the folders of the runs that may lack something, the oldest first."""
    return _named_in(home / "pending", home)


def mark_as_kept_offline(run_folder: Path) -> None:
    """Note that an SDK keeps a run offline, which is complete but for `tracker_sync_run`."""
    folder = _folder_of(run_folder).with_name("offline")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _touch(folder / run_folder.name)
    except OSError as error:
        _say("%s cannot be marked as kept offline: %s", run_folder, error)


def mark_as_uploaded(run_folder: Path) -> None:
    """Note that no SDK keeps the run offline any more."""
    path = _folder_of(run_folder).with_name("offline") / run_folder.name
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _say("%s cannot be marked as uploaded: %s", run_folder, error)


def kept_offline_folders(home: Path) -> list[Path]:
    """Give the folders of the runs that an SDK keeps offline, the oldest first."""
    return _named_in(home / "offline", home)


def mark_as_lacking(run_folder: Path) -> None:
    """Note that a tracker has refused something of a run, or that something of it is lost."""
    folder = _folder_of(run_folder).with_name("lacking")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _touch(folder / run_folder.name)
    except OSError as error:
        _say("%s cannot be marked as lacking: %s", run_folder, error)


def mark_as_whole(run_folder: Path) -> None:
    """Note that nothing of a run was refused or lost, or that somebody has accepted it."""
    try:
        (_folder_of(run_folder).with_name("lacking") / run_folder.name).unlink(missing_ok=True)
    except OSError as error:
        _say("%s cannot be marked as whole: %s", run_folder, error)


def lacking_folders(home: Path) -> list[Path]:
    """Give the folders of the runs of which something was refused or lost, the oldest first."""
    return _named_in(home / "lacking", home)


def mark_as_to_be_indexed(run_folder: Path) -> None:
    """Note that the store's index lacks something of a run."""
    folder = _folder_of(run_folder).with_name("unindexed")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / run_folder.name).touch(mode=0o600)
    except OSError as error:
        _say("%s cannot be marked as to be indexed: %s", run_folder, error)


def mark_as_indexed(run_folder: Path) -> None:
    """Note that the store's index has the run."""
    try:
        (_folder_of(run_folder).with_name("unindexed") / run_folder.name).unlink(missing_ok=True)
    except OSError as error:
        _say("%s cannot be marked as indexed: %s", run_folder, error)


def to_be_indexed_folders(home: Path) -> list[Path]:
    """Give the folders of the runs of which the store's index lacks something, the oldest first."""
    return [folder for folder in _named_in(home / "unindexed", home) if folder.is_dir()]


def mark_as_to_be_shared(run_folder: Path) -> None:
    """Note that a team's artifact store lacks something of a run's journal."""
    path = sharing_mark(run_folder)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _touch(path)
    except OSError as error:
        _say("%s cannot be marked as to be shared: %s", run_folder, error)


def mark_as_shared(run_folder: Path) -> None:
    """Note that a team's artifact store has a run's whole journal."""
    try:
        sharing_mark(run_folder).unlink(missing_ok=True)
    except OSError as error:
        _say("%s cannot be marked as shared: %s", run_folder, error)


def to_be_shared_folders(home: Path) -> list[Path]:
    """Give the folders of the runs whose journals an artifact store lacks, the oldest first."""
    return _named_in(home / "unshared", home)


def sharing_mark(run_folder: Path) -> Path:
    """Give the file that says what a team's artifact store has of a run that it lacks."""
    return _folder_of(run_folder).with_name("unshared") / run_folder.name


def note_as_indexed(home: Path) -> None:
    """Note that the store's index has each run whose folder is not marked as to be indexed."""
    try:
        (home / INDEXED).touch(mode=0o600)
    except OSError as error:
        _say("%s cannot be touched: %s", home / INDEXED, error)


def is_indexed(home: Path) -> bool:
    """Tell whether the store's index has each run whose folder is not marked."""
    return (home / INDEXED).exists() or not (home / "runs").exists()


def _touch(mark: Path) -> None:
    from trackyard.system.files import touch_private

    touch_private(mark)


def _say(text: str, *values: object) -> None:
    """Say something to who debugs; the watchdog reads marks, and needs no more than this file."""
    import logging

    logging.getLogger("trackyard").debug(text, *values)


def _named_in(folder: Path, home: Path) -> list[Path]:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
    return [home / "runs" / name for name in names]


def _folder_of(run_folder: Path) -> Path:
    return run_folder.parent.parent / "pending"
