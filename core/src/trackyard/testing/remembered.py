"""What came of the checks of a flavor the last time, and how long does it take once more?"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from trackyard.system.files import make_private_folder, write_whole
from trackyard.testing.running import CheckResult


@attrs.frozen
class Remembered:
    """What came of each check the last time that it ran.

    Attributes:
        place: The file that keeps it.
        outcomes: The outcome, by the check's name.
        seconds: How long it took, by the check's name.
    """

    place: Path
    outcomes: Mapping[str, str] = attrs.field(factory=dict)
    seconds: Mapping[str, float] = attrs.field(factory=dict)

    @property
    def failed(self) -> frozenset[str]:
        """The checks that failed."""
        return frozenset(name for name, outcome in self.outcomes.items() if outcome == "failed")

    def seconds_left(self, names: Iterable[str]) -> float | None:
        """Say how long some checks take; None where one of them has never run.

        Args:
            names: The checks.
        """
        known = [self.seconds.get(name) for name in names]
        return None if None in known else sum(filter(None, known))

    def keep(self, results: Iterable[CheckResult]) -> None:
        """Keep what came of checks, beside what is known of others.

        A cache that cannot be written is passed over: it holds nothing that is not found again.

        Args:
            results: What came of them.
        """
        outcomes, seconds = dict(self.outcomes), dict(self.seconds)
        for result in results:
            outcomes[result.check] = result.outcome
            seconds[result.check] = round(result.seconds, 3)
        with suppress(OSError):
            make_private_folder(self.place.parent)
            text = json.dumps({"outcomes": outcomes, "seconds": seconds}, indent=1)
            write_whole(self.place, text.encode())


def remembered_of(flavor: str, folder: Path) -> Remembered:
    """Give what is remembered of a flavor, in the user's folder for caches.

    Args:
        flavor: Its name or dotted path.
        folder: Where it is checked; a dotted path means another class elsewhere.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    name = hashlib.sha256(f"{folder}\n{flavor}".encode()).hexdigest()[:16]
    place = cache / "trackyard" / "flavor-checks" / f"{name}.json"
    try:
        known: Any = json.loads(place.read_bytes())
        seconds = {str(check): float(taken) for check, taken in known["seconds"].items()}
        return Remembered(place, dict(known["outcomes"]), seconds)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # no file, or a broken one
        return Remembered(place)
