"""How does a metric go over time: its last and best value, and its curve on a line?"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from itertools import islice
from operator import le
from typing import Any, Literal

import attrs

from trackyard.journal.tallies import PARTS, Tally, sampled
from trackyard.runs.charts import Series, chart, spikes
from trackyard.store.details import MetricRow, values_of
from trackyard.system.numbers import Numbers
from trackyard.system.showing import Shown, says

Goal = Literal["lowest", "highest"]

# Parts of the names of metrics that one wants to be low; every other one is best where highest.
_LOW = (
    *("loss", "err", "rmse", "mse", "mae", "mape", "perplexity", "ppl", "nll", "entropy"),
    *("latency", "seconds", "time", "cost", "regret", "distance", "divergence", "wer", "cer"),
)
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "._-~=*%#"
# As many points as a summary shows of a curve.
SHOWN = PARTS


@attrs.frozen(repr=False)
class MetricSummary(Shown):
    """A metric of a run, as short as it gets."""

    key: str = attrs.field(metadata=says("The metric's key"))
    last: float = attrs.field(metadata=says("Its last value"))
    best: float = attrs.field(metadata=says("Its best value"))
    best_step: float | None = attrs.field(metadata=says("The training step of that"))
    goal: Goal = attrs.field(metadata=says("What counts as best, guessed from the key"))
    lowest: float = attrs.field(metadata=says("Its lowest value"))
    highest: float = attrs.field(metadata=says("Its highest value"))
    points: int = attrs.field(metadata=says("How often it was logged; 0 where that is unknown"))
    curve: tuple[float, ...] = attrs.field(
        metadata=says(f"Its values in at most {SHOWN} parts of the run, the mean of each")
    )

    @property
    def sparkline(self) -> str:
        """The curve as a few characters."""
        return sparkline(self.curve)


class Curve:
    """All points of one metric, in the order of their training steps, else of their times."""

    def __init__(self, key: str) -> None:
        self.key = key
        # A list where they are not whole numbers, or some point has none.
        self.steps: Numbers | list[int | float | None] = Numbers.integers()
        self.values = Numbers.floats()
        self.timestamps = Numbers.integers()

    def extend(
        self,
        steps: Sequence[int | float | None],
        values: Sequence[float],
        timestamps: Sequence[int],
    ) -> None:
        """Add points.

        Args:
            steps: Of each the training step, or None.
            values: Of each the value.
            timestamps: Of each when it was logged, in nanoseconds since the epoch.
        """
        if isinstance(self.steps, Numbers):
            try:
                self.steps.extend(Numbers("q", steps))
            except (TypeError, OverflowError):
                self.steps = [*self.steps, *steps]
        else:
            self.steps.extend(steps)
        self.values.extend(Numbers.floats(values))
        self.timestamps.extend(Numbers.integers(timestamps))

    def append(self, step: float | None, value: float, timestamp: int) -> None:
        """Add a point.

        Args:
            step: The training step, or None.
            value: The value.
            timestamp: When it was logged, in nanoseconds since the epoch.
        """
        self.extend([step], [value], [timestamp])

    def in_order(self) -> Curve:
        """Give the points in order: several processes may have logged them."""
        has_steps = None not in self.steps
        keys: Sequence[float] = self.steps if has_steps else self.timestamps  # type: ignore[assignment]
        if all(map(le, keys, islice(keys, 1, None))):
            return self
        order = sorted(range(len(keys)), key=keys.__getitem__)
        ordered = Curve(self.key)
        ordered.extend(
            [self.steps[index] for index in order],
            [self.values[index] for index in order],
            [self.timestamps[index] for index in order],
        )
        return ordered

    def thinned(self, most: int) -> Curve:
        """Give a curve of at most so many points that keeps every spike, the first and the last.

        Args:
            most: How many points, at least 4.
        """
        ordered = self.in_order()
        chosen = spikes(ordered.values, most)
        if len(chosen) == len(ordered):
            return ordered
        thin = Curve(self.key)
        thin.extend(
            [ordered.steps[index] for index in chosen],
            [ordered.values[index] for index in chosen],
            [ordered.timestamps[index] for index in chosen],
        )
        return thin

    def __len__(self) -> int:
        return len(self.values)

    def summary(self) -> MetricSummary:
        """Give last, best and a small curve."""
        tally = Tally()
        tally.extend(self.steps, self.values, self.timestamps)
        return summary_of_tally(self.key, tally.plain())

    def __repr__(self) -> str:
        return f"<Curve {self.key} {sparkline(sampled(self.values, SHOWN))}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.key)}</p>{chart([self.series()])}"

    def series(self, label: str | None = None) -> Series:
        """Give the curve as it is drawn.

        Args:
            label: Its name in a legend; its key by default.
        """
        ordered = self.in_order()
        return Series(self.key if label is None else label, ordered.values, ordered.steps)


def summary_of_last(key: str, value: float) -> MetricSummary:
    """Give what is known of a metric where its journal is gone.

    Args:
        key: The metric's key.
        value: Its last value.
    """
    return MetricSummary(key, value, value, None, goal_of(key), value, value, 0, ())


def summary_of_tally(key: str, known: Mapping[str, Any]) -> MetricSummary:
    """Give what a run's summary says of a metric.

    Args:
        key: The metric's key.
        known: As `journal.tallies.Tally.plain` gives it.
    """
    goal = goal_of(key)
    side = "least" if goal == "lowest" else "greatest"
    return MetricSummary(
        key=key,
        last=known["last"],
        best=known[side],
        best_step=known[f"{side}_step"],
        goal=goal,
        lowest=known["least"],
        highest=known["greatest"],
        points=known["points"],
        curve=tuple(known["parts"]),
    )


def summary_of_row(row: MetricRow) -> MetricSummary:
    """Give what the store knows of a metric.

    Args:
        row: As the store has it.
    """
    known: dict[str, Any] = {
        name: math.nan if value is None and not name.endswith("_step") else value
        for name, value in attrs.asdict(row).items()
    }
    values = values_of(row.curve) or ([known["last"]] if row.points else [])
    return summary_of_tally(row.key, {**known, "parts": sampled(values, SHOWN)})


def goal_of(key: str) -> Goal:
    """Guess from a metric's name whether it should be low or high."""
    return "lowest" if any(part in key.lower() for part in _LOW) else "highest"


def sparkline(values: Sequence[float], *, is_plain: bool = False) -> str:
    """Draw values in a line of characters, a space where there is none.

    Args:
        values: The values.
        is_plain: Use ASCII.
    """
    bars = _PLAIN_BARS if is_plain else _BARS
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    return "".join(_bar(value, low, high, bars) for value in values)


def _bar(value: float, low: float, high: float, bars: str) -> str:
    if not math.isfinite(value):
        return " "
    if low == high:
        return bars[3]
    share = (value / 2 - low / 2) / (high / 2 - low / 2)  # halved: a range may be infinite
    return bars[min(len(bars) - 1, int(share * len(bars)))]
