"""What have children of a run's process written, what of it counts, and under which names?

One rule for trackers and for what Trackyard itself shows: the run's own process and its children
of rank 0 count. Those of other ranks count where a tracker has `rank = "all"`, as `rank1/loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import attrs

from trackyard.journal.ending import last_sequences
from trackyard.journal.entries import Entry, dropped_in
from trackyard.journal.points import Histories, Points
from trackyard.journal.reader import JournalReader, segments_of
from trackyard.system.life import life_of
from trackyard.system.ranks import is_child, rank_of_child


def as_counted(entry: Entry, writer: str, *, all_ranks: bool) -> Entry | None:
    """Give an entry as it counts, or None where it holds records that do not count.

    Args:
        entry: An entry of a journal.
        writer: Who wrote it.
        all_ranks: Ranks above 0 count.
    """
    rank = rank_of_child(writer)
    if not rank or entry.kind not in ("metrics", "params", "tags", "artifact"):
        return entry
    if not all_ranks:
        return None
    if entry.kind == "artifact":
        return entry._replace(data=attrs.evolve(entry.data, name=f"rank{rank}/{entry.data.name}"))
    return entry._replace(data={f"rank{rank}/{key}": v for key, v in entry.data.items()})


def prefix_of(writer: str, *, all_ranks: bool) -> str | None:
    """Give what keys of a writer's metrics begin with, or None where they do not count.

    Args:
        writer: Who wrote them.
        all_ranks: Ranks above 0 count.
    """
    rank = rank_of_child(writer)
    if not rank:
        return ""
    return f"rank{rank}/" if all_ranks else None


def children_in(folder: Path) -> set[str]:
    """Name the writers of a run's journal that were children of its process."""
    return {writer for writer, _ in segments_of(folder) if is_child(writer)}


def with_metrics_of_children(
    own: Mapping[str, float], folder: Path, *, all_ranks: bool
) -> dict[str, float]:
    """Add the last values of what children logged to those of the run's own process.

    Where there are no children nothing is read.

    Args:
        own: The last values of the run's own process.
        folder: The run's folder.
        all_ranks: Whether what ranks other than 0 logged counts, too.
    """
    children = children_in(folder)
    if not children:
        return dict(own)
    last = last_metrics(folder, all_ranks=all_ranks, wants=children.__contains__)
    if own.keys() & last.keys():  # which one is the last, only their times tell
        last = last_metrics(folder, all_ranks=all_ranks)
    return {**own, **last}


def last_metrics(
    folder: Path, *, all_ranks: bool, wants: Callable[[str], bool] | None = None
) -> dict[str, float]:
    """Give the last value of each metric in a journal, or in that of some writers.

    Args:
        folder: The run's folder.
        all_ranks: Whether what ranks other than 0 logged counts, too.
        wants: Tells of a writer's name whether it counts; all do by default.
    """
    last: dict[str, tuple[int, float]] = {}
    for writer, block in JournalReader(folder, wants=wants).read_blocks():
        for key, value, timestamp in _last_in(writer, block, all_ranks=all_ranks):
            if key not in last or timestamp >= last[key][0]:
                last[key] = timestamp, value
    return {key: value for key, (_, value) in last.items()}


def _last_in(
    writer: str, block: Points | Histories | list[Entry], *, all_ranks: bool
) -> Iterator[tuple[str, float, int]]:
    """Give points of a part of a journal, of metrics alone the latest ones: key, value, time."""
    prefix = prefix_of(writer, all_ranks=all_ranks)
    if prefix is None:
        return
    if not isinstance(block, list):
        for column in block.columns():
            at = max(range(len(column.timestamps)), key=lambda i: (column.timestamps[i], i))
            yield prefix + column.key, column.values[at], column.timestamps[at]
        return
    for entry in block:
        if entry.kind == "metrics":
            for key, value in entry.data.items():
                yield prefix + key, value, entry.timestamp


class Count(NamedTuple):
    """How many records there are, and how many log calls are lost, so far as known.

    Attributes:
        records, lost: These numbers.
        has_more: There are more records, which were not counted.
    """

    records: int = 0
    lost: int = 0
    has_more: bool = False


def has_living_children(folder: Path) -> bool:
    """Tell whether a child of the run's process that has logged into it lives."""
    lives = [life_of(path) for path in folder.glob("child*.lock")]
    return any(life.is_alive and not life.is_silent for life in lives)


def count_late(folder: Path, cursor: Mapping[str, int], *, all_ranks: bool) -> Count:
    """Count what children wrote behind the cursor of a tracker that has the run's end.

    Where nobody wrote anything more, only names and the ends of children's files are looked at.

    Args:
        folder: The run's folder.
        cursor: How far the tracker is in each writer's journal.
        all_ranks: Whether it takes what ranks other than 0 logged, too.
    """
    children = children_in(folder)
    if not children:
        return Count()
    last = last_sequences(folder)
    ahead = {name for name in children if last.get(name, -1) > cursor.get(name, -1)}
    return count(JournalReader(folder, cursor, wants=ahead.__contains__), all_ranks=all_ranks)


def count(reader: JournalReader, *, all_ranks: bool, most: int | None = None) -> Count:
    """Count what a reader gives, by the rule of ranks.

    Args:
        reader: Gives the entries.
        all_ranks: Whether what ranks other than 0 logged counts, too.
        most: Leave off where there are more records than so many.
    """
    records = lost = 0
    for writer, block in reader.read_blocks():
        if most is not None and records > most:
            return Count(records, lost + reader.lost, has_more=True)
        if not isinstance(block, list):
            is_counted = prefix_of(writer, all_ranks=all_ranks) is not None
            records += block.points if is_counted else 0
            continue
        for entry in block:
            lost += dropped_in(entry)
            counted = as_counted(entry, writer, all_ranks=all_ranks)
            records += len(counted.records()) if counted is not None else 0
    return Count(records, lost + reader.lost)
