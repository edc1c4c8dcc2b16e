"""The points of curves, as few as a chart shows, with every spike."""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import le
from threading import Lock
from typing import TYPE_CHECKING, Any

import attrs
from starlette.responses import Response

from trackyard import Client

if TYPE_CHECKING:
    from starlette.requests import Request

# Points of a curve that a chart shows, runs whose curves are held, and what of each was drawn.
_SHOWN, _HELD, _KEPT = 1200, 12, 100
# A run that goes on is read again after so many times what reading took.
_REST = 4


@attrs.frozen
class Held:
    """The curves of a run, as they were when it was read.

    Attributes:
        name, status: The run's.
        curves: By metric.
        until: When it is read again.
        drawn: What was asked for, and how many points the curve had then.
    """

    name: str
    status: str
    curves: Mapping[str, Any]
    until: float
    drawn: dict[tuple[Any, ...], tuple[int, dict[str, Any]]] = attrs.field(factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing can come any more."""
        return self.status not in ("running", "unreachable")

    def points(self, *asked: Any) -> dict[str, Any] | None:
        """Give the points that a chart shows; None where there are none.

        Args:
            asked: The metric, and what `_points` wants to know.
        """
        curve = self.curves.get(asked[0])
        if curve is None or not len(curve):
            return None
        count, points = self.drawn.get(asked, (0, {}))
        if count != len(curve):
            if len(self.drawn) >= _KEPT:
                self.drawn.clear()
            points = _points(curve, *asked[1:])
            self.drawn[asked] = len(curve), points
        return points


class Curves:
    """Holds the curves of the runs that were looked at last.

    Args:
        client: Reads runs.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._reading: dict[str, Lock] = {}
        self._lock = Lock()

    @contextmanager
    def of(self, id: str) -> Iterator[Held]:
        """Give the curves of a run, with what has come; they do not grow within.

        Whoever asks for a run while it is read waits for that.

        Args:
            id: The run's.
        """
        with self._lock:
            reading = self._reading.setdefault(id, Lock())
        with reading:
            with self._lock:
                held = self._held.get(id)
            if held is None or time.monotonic() >= held.until:
                held = self._read(id, held)
            with self._lock:
                self._held[id] = held
                self._held.move_to_end(id)
                while len(self._held) > _HELD:
                    old, _ = self._held.popitem(last=False)
                    self._reading.pop(old, None)
            yield held

    def _read(self, id: str, before: Held | None) -> Held:
        """Read a run; of one that goes on only what is new."""
        began = time.monotonic()
        view = self._client.get_run(id)
        curves = view.steps[0].curves if len(view.steps) == 1 else view.curves
        if before is not None and hasattr(before.curves, "read_on") and before.curves.read_on():
            curves = before.curves
        for key in curves:
            curves[key]
        took = time.monotonic() - began
        drawn = before.drawn if before is not None and curves is before.curves else {}
        held = Held(view.name, view.status, curves, math.inf, drawn)
        until = math.inf if held.is_over else time.monotonic() + max(0.5, _REST * took)
        return attrs.evolve(held, until=until)


def show_curves(request: Request, curves: Curves) -> Response:
    """Answer with the points of one metric of some runs, as JSON.

    Args:
        request: What is asked: `run`, `key`, `x` (step, time or relative), `smooth`, `from`, `to`.
        curves: Holds them.
    """
    given = request.query_params
    axis, smooth = given.get("x", "step"), _number(given.get("smooth")) or 0.0
    low, high = _number(given.get("from")), _number(given.get("to"))
    series, is_live = [], False
    for id_ in given.getlist("run")[:20]:
        with curves.of(id_) as held:
            is_live |= held.status == "running"
            smoothed = min(max(smooth, 0.0), 0.999)
            points = held.points(given.get("key", ""), axis, smoothed, (low, high))
            if points is not None:
                series.append({"run": id_, "name": held.name, **points})
    text = json.dumps({"series": series, "live": is_live}, allow_nan=False, separators=(",", ":"))
    return Response(text, media_type="application/json")


def _points(
    curve: Any, axis: str, smooth: float, window: tuple[float | None, float | None]
) -> dict[str, Any]:
    if not smooth and window == (None, None):  # nothing has to be made of each point
        thin = curve.thinned(_SHOWN)
        x, is_step = _axis(thin, axis, curve.timestamps[0])
        return _drawn(curve, x, thin.values, axis, is_step)
    x, is_step = _axis(curve, axis, curve.timestamps[0])
    start = 0 if window[0] is None else max(0, bisect_left(x, window[0]) - 1)
    end = len(x) if window[1] is None else min(len(x), bisect_right(x, window[1]) + 1)
    part = type(curve)(curve.key)
    smoothed = list(_smoothed(curve.values, smooth)) if smooth else curve.values
    # Their places stand for times: thinning keeps them in this order, whatever the axis.
    part.extend([*range(start, end)], [*smoothed[start:end]], [0] * (end - start))
    thin = part.thinned(_SHOWN)
    return _drawn(curve, [x[place] for place in thin.steps], thin.values, axis, is_step)


def _drawn(
    curve: Any, x: Sequence[float], values: Sequence[float], axis: str, is_step: bool
) -> dict[str, Any]:
    last = curve.values[-1]
    return {
        "x": [*x],
        "y": [item if math.isfinite(item) else None for item in values],
        "last": last if math.isfinite(last) else str(last),
        "points": len(curve),
        "odd": sum(1 for item in values if not math.isfinite(item)),
        "axis": "step" if is_step else axis if axis != "step" else "time",
    }


def _axis(curve: Any, axis: str, began: int) -> tuple[Sequence[float], bool]:
    """Give the places of points: steps where all have one, else seconds."""
    if axis == "step" and None not in curve.steps:
        return curve.steps, True
    first = began if axis == "relative" else 0
    seconds = [(stamp - first) / 1e9 for stamp in curve.timestamps]
    if not all(map(le, seconds, islice(seconds, 1, None))):
        top = -math.inf
        seconds = [top := max(top, second) for second in seconds]
    return seconds, False


def _smoothed(values: Sequence[float], share: float) -> Iterator[float]:
    """Smooth by an exponential average that is fair to the first points."""
    mean = weight = 0.0
    for value in values:
        if not math.isfinite(value):
            yield value
            continue
        mean = share * mean + (1 - share) * value
        weight = share * weight + (1 - share)
        yield mean / weight


def _number(text: str | None) -> float | None:
    try:
        found = float(text) if text else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def is_drawn(metric: Any) -> bool:
    """Tell whether a metric has a curve, and not one value alone."""
    return bool(metric.points > 1)


def is_system(key: str) -> bool:
    """Tell whether a metric says how full the machine was, and not how the training goes."""
    return key.startswith("system/") or ".system/" in key  # of one step of several
