"""How are curves drawn for notebooks: with axes and a legend, in markup that runs no script?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import attrs

from trackyard.system.showing import escaped

# Okabe and Ito's, which people who see colours differently can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8b6d5c", "#7f7f7f")
_LEFT, _BOTTOM, _EDGE, _LINE = 62, 34, 10, 16
_FONT = 'font-family="sans-serif" font-size="11" fill="currentColor"'
_SHORTENED = 60  # characters of a name in the legend


@attrs.frozen(eq=False)
class Series:
    """A curve to draw.

    Attributes:
        label: Its name in the legend.
        values: Its values, in order.
        steps: Of each the training step; its place in the row where that is not known.
        unit: What is counted then.
    """

    label: str
    values: Sequence[float]
    steps: Sequence[float | None] | None = None
    unit: str = "point"


def chart(series: Sequence[Series], width: int = 420, height: int = 180) -> str:
    """Draw curves on one scale, each in a colour of its own; an empty text where there is no value.

    Args:
        series: The curves.
        width: Of the picture, in pixels.
        height: Likewise, without the legend, which several curves get.
    """
    drawn = [(one.label, _points(one, width)) for one in series]
    finite = [(x, y) for _, points in drawn for x, y in points if math.isfinite(y)]
    if not finite:
        return ""
    across = _Scale.of([x for x, _ in finite], _LEFT, width - _EDGE)
    up = _Scale.of([y for _, y in finite], height - _BOTTOM, _EDGE)
    parts = [*_axes(across, up, "step" if _have_steps(series) else series[0].unit)]
    for index, (_, points) in enumerate(drawn):
        parts += _lines(points, across, up, COLOURS[index % len(COLOURS)])
    labels = [label for label, _ in drawn] if len(drawn) > 1 else []
    for index, label in enumerate(labels):
        y = height + _LINE * (index + 1)
        colour = COLOURS[index % len(COLOURS)]
        parts.append(_line((_LEFT, y - 4), (_LEFT + 18, y - 4), colour, 3))
        parts.append(_text(_LEFT + 24, y, label[:_SHORTENED], "start"))
    whole = height + len(labels) * _LINE + (_LINE // 2 if labels else 0)
    name = escaped(", ".join(one.label for one in series)[:200])
    return (
        f'<svg width="{width}" height="{whole}" viewBox="0 0 {width} {whole}" role="img" '
        f'aria-label="{name}">{"".join(parts)}</svg>'
    )


def spikes(values: Sequence[float], most: int) -> Sequence[int]:
    """Choose points by which a curve is drawn: the least and the greatest of each of its parts.

    Args:
        values: The values, in order.
        most: How many indices to give at most, in order; at least 4.
    """
    count = len(values)
    if count <= most:
        return range(count)
    parts = max(1, most // 2 - 1)
    bounds = [count * part // parts for part in range(parts + 1)]
    chosen = {0, count - 1}
    for start, end in pairwise(bounds):
        part = values[start:end]
        if not math.isnan(sum(part)):
            chosen |= {start + part.index(min(part)), start + part.index(max(part))}
            continue
        # NaN is neither less nor greater: with one among them, the order would decide.
        known = [i for i in range(start, end) if not math.isnan(values[i])] or [start]
        chosen |= {min(known, key=values.__getitem__), max(known, key=values.__getitem__)}
    return sorted(chosen)


@attrs.frozen
class _Scale:
    """Where values lie on a line of the picture, with some round ones among them.

    Halves are taken, since the range of all floats is none.
    """

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float) -> _Scale:
        low, high = min(values), max(values)
        if low == high:
            beside = abs(low) / 10 or 0.5
            is_huge = beside > 1e300  # there is nothing beside it
            low, high = (min(low, 0), max(high, 0)) if is_huge else (low - beside, high + beside)
        return cls(low, high, start, end)

    def at(self, value: float) -> float:
        share = (value / 2 - self.low / 2) / ((self.high / 2 - self.low / 2) or 1.0)
        return self.start + share * (self.end - self.start)

    def round_values(self) -> Iterator[float]:
        """Give 2 to 6 round values."""
        spread = self.high / 2 - self.low / 2
        if not (math.isfinite(spread) and spread > 1e-300):
            yield from {self.low, self.high}
            return
        power = 10.0 ** math.floor(math.log10(spread / 2))
        size = next(power * n for n in (1, 2, 5, 10, 20) if spread / (power * n) <= 2.5)
        first = math.ceil(self.low / size)
        for number in range(first, first + 12):
            if number * size <= self.high:
                yield number * size


def _have_steps(series: Sequence[Series]) -> bool:
    return all(one.steps is not None and None not in one.steps for one in series)


def _points(one: Series, width: int) -> list[tuple[float, float]]:
    """Give the points that can be told apart in the picture."""
    chosen = spikes(one.values, 2 * width)
    steps = one.steps if one.steps is not None and None not in one.steps else None
    return [(float(i if steps is None else steps[i] or 0), one.values[i]) for i in chosen]


def _axes(across: _Scale, up: _Scale, title: str) -> Iterator[str]:
    for value in up.round_values():
        y = up.at(value)
        yield _line((across.start, y), (across.end, y), "#8884", 1)
        yield _text(across.start - 6, y + 4, f"{value:.4g}", "end")
    for value in across.round_values():
        yield _text(across.at(value), up.start + 14, f"{value:.6g}", "middle")
    yield _line((across.start, up.start), (across.end, up.start), "#888", 1)
    yield _line((across.start, up.start), (across.start, up.end), "#888", 1)
    yield _text((across.start + across.end) / 2, up.start + 28, title, "middle")


def _lines(
    points: Sequence[tuple[float, float]], across: _Scale, up: _Scale, colour: str
) -> Iterator[str]:
    """Draw a curve; it has a gap where a value is no number."""
    part: list[str] = []
    for x, y in [*points, (0.0, math.nan)]:
        if math.isfinite(y):
            part.append(f"{across.at(x):.1f},{up.at(y):.1f}")
            continue
        if len(part) == 1:  # a line of one point cannot be seen
            part.append(part[0])
        if part:
            yield (
                f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" '
                f'stroke-linecap="round" points="{" ".join(part)}"/>'
            )
        part = []


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, width: int) -> str:
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {_FONT}>{escaped(text)}</text>'
