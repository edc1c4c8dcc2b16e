"""Is a run still where it was started, or has somebody deleted it, or everything there?

For flavors whose backend is files: where the whole folder is gone, all runs are made anew; a run
that alone is missing was deleted on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs

from trackyard.contract.errors import RunDeleted
from trackyard.contract.records import Run
from trackyard.system.files import write_whole


@attrs.frozen
class Presence:
    """A run and the place that it is in; the run's folder knows where it was started.

    Attributes:
        run: The run.
        place: Where its backend keeps it now, as a text that names no other place.
    """

    run: Run
    place: str

    def is_gone(self, is_there: Callable[[], bool], has_others: Callable[[], bool]) -> bool:
        """Tell whether it was started here and is gone with everything else: it is made anew.

        Args:
            is_there: Tells whether the run is there.
            has_others: Tells whether the place holds anything.

        Raises:
            RunDeleted: It alone is not there any more.
        """
        if self.place != _text_of(self._started_at) or is_there():
            return False
        if has_others():
            raise RunDeleted(f"run {self.run.id} was deleted in {self.place}")
        self._made_anew.touch()
        return True

    def note_start(self) -> int | None:
        """Note where it was started; give 0, for `tracker_start_run`, where it was made anew."""
        if _text_of(self._started_at) != self.place:
            write_whole(self._started_at, self.place)
        return 0 if self._made_anew.exists() else None

    def note_records(self) -> None:
        """Note that it has records, so that it is not new any more."""
        self._made_anew.unlink(missing_ok=True)

    @property
    def _started_at(self) -> Path:
        return self.run.folder / "started-at"

    @property
    def _made_anew(self) -> Path:
        return self.run.folder / "made-anew"


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
