"""How does the graph of a pipeline look in a notebook?"""

from __future__ import annotations

import graphlib
import html
from collections.abc import Iterator, Mapping, Sequence

import attrs

from trackyard.pipelines.graph import Graph

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 150, 34, 50, 18, 10
_SHORTENED = 20
# A picture of more steps than that can be read by nobody.
MOST = 200


@attrs.frozen
class Box:
    """A step in the picture.

    Attributes:
        name: Its name.
        needs: The names of the steps that it waits for.
        is_mapped: It is called once for each item of a list.
    """

    name: str
    needs: tuple[str, ...]
    is_mapped: bool = False


def boxes_of(graph: Graph) -> list[Box]:
    """Give the steps of a graph, each after those that it waits for."""
    waits = graph.dependencies()
    places = {name: place for place, name in enumerate(graph.nodes)}
    return [
        Box(
            name,
            tuple(sorted(waits[name], key=places.__getitem__)),
            graph.nodes[name].mapped is not None,
        )
        for name in graphlib.TopologicalSorter(waits).static_order()
    ]


def picture(boxes: Sequence[Box]) -> str:
    """Draw steps from left to right, each behind all that it waits for; markup without scripts.

    Args:
        boxes: The steps, each after those that it waits for.
    """
    columns = _columns(boxes)
    places = {
        box.name: (_EDGE + across * (_WIDTH + _ACROSS), _EDGE + down * (_HEIGHT + _DOWN))
        for across, column in enumerate(columns)
        for down, box in enumerate(column)
    }
    width = 2 * _EDGE + len(columns) * (_WIDTH + _ACROSS) - _ACROSS + 6
    height = 2 * _EDGE + max(map(len, columns), default=0) * (_HEIGHT + _DOWN) - _DOWN + 6
    edges = "".join(_edge(places[name], places[box.name]) for box in boxes for name in box.needs)
    drawn = "".join("".join(_box(box, *places[box.name])) for box in boxes)
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="graph of {len(boxes)} steps">{edges}{drawn}</svg>'
    )


def _columns(boxes: Sequence[Box]) -> list[list[Box]]:
    """Put each box one column behind the last that it needs, near those that it needs."""
    levels: dict[str, int] = {}
    columns: list[list[Box]] = []
    for box in boxes:
        level = levels[box.name] = max((levels[name] + 1 for name in box.needs), default=0)
        columns += [[] for _ in range(level + 1 - len(columns))]
        columns[level].append(box)
    rows: dict[str, int] = {}
    for column in columns:
        column.sort(key=lambda box: _middle(box, rows))
        rows |= {box.name: row for row, box in enumerate(column)}
    return columns


def _middle(box: Box, rows: Mapping[str, int]) -> float:
    return sum(rows[name] for name in box.needs) / len(box.needs) if box.needs else 0.0


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0], end[1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    bend = f"M{x1},{y1} C{middle},{y1} {middle},{y2} {x2},{y2}"
    tip = f"M{x2 - 7},{y2 - 4} L{x2 - 1},{y2} L{x2 - 7},{y2 + 4}"
    return f'<path d="{bend} {tip}" fill="none" stroke="#888" stroke-width="1.5"/>'


def _box(box: Box, x: int, y: int) -> Iterator[str]:
    for offset in (6, 3, 0) if box.is_mapped else (0,):  # a pile
        yield (
            f'<rect x="{x + offset}" y="{y + offset}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" '
            f'fill="#e8eef7" stroke="#0072b2"/>'
        )
    is_long = len(box.name) > _SHORTENED
    name = html.escape(f"{box.name[:_SHORTENED]}…" if is_long else box.name)
    yield (
        f'<text x="{x + _WIDTH // 2}" y="{y + _HEIGHT // 2 + 4}" text-anchor="middle" '
        f'font-family="sans-serif" font-size="12" fill="#1a1a1a">{name}</text>'
    )
