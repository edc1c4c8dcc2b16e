"""Which step does a backend get for a point, where it does not take each?"""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections import Counter, defaultdict

from trackyard.contract.records import Capabilities

_LARGEST_STEP = 2**63 - 1
# From here on floats leave out whole numbers.
_FLOATS_END = 2**53
# Stretches of steps that are remembered of a key; a loop that counts makes one.
_MOST_STRETCHES = 100_000


class Steps:
    """Fits the steps of one run's points to one flavor's capabilities.

    Which steps are taken in the end does not depend on the order in which points come, so that
    who goes on after a crash finds the same ones free.

    Args:
        capabilities: The flavor's limits.
        changes: Counts what was changed.

    Attributes:
        is_any: Every step is taken as it is.
        depends_on_earlier: What a point gets depends on those before it.
    """

    def __init__(self, capabilities: Capabilities, changes: Counter[str]) -> None:
        self._rule = capabilities.step_rule
        self._least = capabilities.least_step
        self._needs_step = capabilities.needs_step
        self._is_one = capabilities.points_per_step == "one"
        self._changes = changes
        self._taken: defaultdict[str, _Taken] = defaultdict(lambda: _Taken(self._rule))
        self._without = Counter[str]()  # points without a step, by key
        self._last: float = -math.inf
        self.depends_on_earlier = self._is_one or self._needs_step or self._rule == "increasing"
        self.is_any = (
            not self.depends_on_earlier and self._rule == "any" and capabilities.least_step is None
        )

    def fitted(self, key: str, step: float | None) -> float | None:
        """Give the step that the backend gets; itself where it takes that.

        Args:
            key: The metric, as the backend gets it.
            step: Its step.
        """
        if self.is_any:
            return step
        fitted = self._allowed(key, step)
        if fitted is None:
            return None
        if self._rule == "increasing" and fitted < self._last:
            self._count("records whose step went backwards were sent without it")
            if not self._needs_step:
                return None
            fitted = self._last
        if self._is_one:
            free = self._taken[key].take(fitted)
            if free != fitted:
                self._count("points whose step had one were sent at the next free step")
                fitted = free
        if self._rule == "increasing":
            self._last = fitted
        return fitted

    def fitted_late(self, step: float | None) -> float | None:
        """Give the step for a point that is sent after others that were logged later.

        Args:
            step: The one that it had when it was its turn.
        """
        if self._rule != "increasing" or step is None or step >= self._last:
            return step
        self._count("records whose step went backwards were sent without it")
        return self._last if self._needs_step else None

    def pass_over(self, key: str, step: float | None) -> None:
        """Take note of a point that the backend has already, by a call of its own SDK.

        Args:
            key: The metric, as the backend has it.
            step: Its step.
        """
        if step is None:
            return
        if self._is_one:
            self._taken[key].take(step)
        self._last = max(self._last, step)

    def _allowed(self, key: str, step: float | None) -> float | None:
        """Give the step where each point stands for itself."""
        if step is None:
            if not self._needs_step:
                return None
            self._count("points without a step were numbered")
            step = (self._least or 0) + self._without[key]
            self._without[key] += 1
        if self._rule in ("integer", "float"):
            step = self._rounded(step)
        if self._least is not None and step < self._least:
            self._count(f"steps below {self._least} were raised to it")
            return self._least
        return step

    def _rounded(self, step: float) -> float:
        """Give the nearest step that the backend's numbers hold: itself where they hold it."""
        if self._rule == "integer":
            whole = int(max(-_LARGEST_STEP - 1, min(step, _LARGEST_STEP)))
            if whole != step:
                self._count("steps were rounded to whole numbers of 64 bits")
            return whole
        largest = sys.float_info.max
        rounded = float(max(-largest, min(step, largest)))
        if rounded == step:
            return step
        self._count("steps beyond 2^53 were rounded to floats")
        return rounded

    def _count(self, what: str) -> None:
        self._changes[what] += 1


class _Taken:
    """The steps at which one key has a point.

    Whole ones are kept as stretches that do not touch one another: a loop has one of them,
    however long it runs.
    """

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._others: set[float] = set()  # fractions, and what floats cannot count on from

    def take(self, step: float) -> float:
        """Take a step where it is free, else the next one that is; give it."""
        is_large = self._rule == "float" and abs(step) >= _FLOATS_END
        if is_large or step != int(step):
            while is_large and step in self._others:
                step = math.nextafter(step, math.inf)
            if step not in self._others:
                self._others.add(step)
                return step
            step = math.floor(step) + 1
        whole = int(step)
        at = bisect_right(self._firsts, whole) - 1
        if at < 0 or whole > self._lasts[at]:
            self._insert(whole, at)
            return step
        whole = self._lasts[at] + 1
        if self._rule == "integer" and whole > _LARGEST_STEP:
            whole = self._firsts[at] - 1
            at -= 1
        self._insert(whole, at)
        return whole

    def _insert(self, whole: int, at: int) -> None:
        """Put a free step behind the stretch `at`, and join the stretches that it touches."""
        firsts, lasts = self._firsts, self._lasts
        continues = at >= 0 and lasts[at] == whole - 1
        leads = at + 1 < len(firsts) and firsts[at + 1] == whole + 1
        if continues and leads:
            lasts[at] = lasts.pop(at + 1)
            del firsts[at + 1]
        elif continues:
            lasts[at] = whole
        elif leads:
            firsts[at + 1] = whole
        else:
            firsts.insert(at + 1, whole)
            lasts.insert(at + 1, whole)
            if len(firsts) > _MOST_STRETCHES:  # what lies between the lower half counts as taken
                half = _MOST_STRETCHES // 2
                firsts[1:half], lasts[:half] = [], [lasts[half - 1]]
