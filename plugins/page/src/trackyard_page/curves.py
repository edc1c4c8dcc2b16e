"""The points of curves, as few as a chart shows, with every spike."""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from operator import le
from threading import Lock
from typing import TYPE_CHECKING, Any

import attrs
from starlette.responses import Response

from trackyard import Client

if TYPE_CHECKING:
    from starlette.requests import Request

# Points of a curve that a chart shows, and runs whose curves are held.
_SHOWN, _HELD = 1200, 12
# A run that goes on is read again after so many times what reading took.
_REST = 4


@attrs.frozen
class Held:
    """The curves of a run, as they were when it was read."""

    name: str
    status: str
    curves: Mapping[str, Any]
    until: float


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

    def of(self, id: str) -> Held:
        """Give the curves of a run, which are read anew where they may have grown.

        Whoever asks for a run while it is read waits for that.

        Args:
            id: The run's.
        """
        with self._lock:
            reading = self._reading.setdefault(id, Lock())
        with reading:
            with self._lock:
                held = self._held.get(id)
                if held is not None and time.monotonic() < held.until:
                    self._held.move_to_end(id)
                    return held
            held = self._read(id)
        with self._lock:
            self._held[id] = held
            while len(self._held) > _HELD:
                old, _ = self._held.popitem(last=False)
                self._reading.pop(old, None)
        return held

    def _read(self, id: str) -> Held:
        began = time.monotonic()
        view = self._client.get_run(id)
        curves = {key: view.curves[key] for key in view.curves}
        took = time.monotonic() - began
        is_over = view.status not in ("running", "unreachable")
        until = math.inf if is_over else time.monotonic() + max(0.5, _REST * took)
        return Held(view.name, view.status, curves, until)


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
        held = curves.of(id_)
        is_live |= held.status == "running"
        curve = held.curves.get(given.get("key", ""))
        if curve is not None and len(curve):
            points = _points(curve, axis, min(max(smooth, 0.0), 0.999), (low, high))
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
