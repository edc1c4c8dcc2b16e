"""Is a run still there where it was started, or has somebody deleted it, or everything?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trackyard.contract import Run, RunDeleted, write_whole

_MARK, _ANEW = "tensorboard-place", "tensorboard-anew"


def is_gone(
    run: Run, place: str, is_there: Callable[[], bool], has_others: Callable[[], bool]
) -> bool:
    """Tell whether a run that was started is gone with everything else: it is made anew then.

    Args:
        run: The run; its folder knows where it was started.
        place: Where it is now.
        is_there: Tells whether it is there.
        has_others: Tells whether the place holds anything.

    Raises:
        RunDeleted: It alone is not there any more.
    """
    if place != _known(run.folder / _MARK) or is_there():
        return False
    if has_others():
        raise RunDeleted(f"run {run.id} was deleted in {place}")
    (run.folder / _ANEW).touch()
    return True


def note_start(run: Run, place: str) -> int | None:
    """Note where a run was started; give 0 where it is new there and has no record yet.

    Args:
        run: The run.
        place: Where.
    """
    if _known(run.folder / _MARK) != place:
        write_whole(run.folder / _MARK, place)
    return 0 if (run.folder / _ANEW).exists() else None


def note_records(run: Run) -> None:
    """Note that it has records.

    Args:
        run: The run.
    """
    (run.folder / _ANEW).unlink(missing_ok=True)


def _known(mark: Path) -> str:
    try:
        return mark.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
