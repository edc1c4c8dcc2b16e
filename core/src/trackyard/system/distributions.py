"""Which distributions are installed and what do they declare, however damaged some of them are?

The library importlib-metadata reads them. A damaged one is passed over, and hides no other. What
it has found in a place is kept for the next process, see `installed`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from trackyard.system.installed import has_none, recall, remember

if TYPE_CHECKING:
    from importlib_metadata import Distribution


# How the groups of Trackyard's own entry points begin.
OURS = "trackyard."


@attrs.frozen
class Declared:
    """An entry point, with what is known of the distribution that declares it.

    Attributes:
        group, name, value: Those of the entry point; nothing of it has been imported.
        distribution, version, summary: Empty where the distribution's metadata does not say it.
        requires: What the distribution requires, a line for each.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str
    summary: str
    requires: tuple[str, ...] = ()


@attrs.frozen
class Damaged:
    """A distribution whose entry points cannot be read.

    Attributes:
        place: Its name, or else the folder that it is in.
        problem: What is wrong.
    """

    place: str
    problem: str


def find_entry_points(prefix: str) -> tuple[tuple[Declared, ...], tuple[Damaged, ...]]:
    """Find the entry points of all groups that begin in some way.

    Of several distributions of one name, what is first on `sys.path` counts, as for an import. Each
    place is read once, and again when something was (un)installed there: a program's own folder,
    which is a place, too, changes with each file that the program writes.

    Args:
        prefix: How the groups begin.

    Returns:
        The entry points, and the distributions of which one does not know whether they have any.
    """
    found: list[Declared] = []
    damaged: list[Damaged] = []
    seen: set[str] = set()
    for place, changed_at in places():
        declared_there, damaged_there = _entry_points_in(place, changed_at, prefix)
        damaged += damaged_there
        for declared in declared_there:
            name = normal_name(declared[0].distribution)
            if name not in seen:
                found += declared
            seen |= {name} - {""}
    return tuple(_without_copies(found)), tuple(dict.fromkeys(damaged))


def places() -> tuple[tuple[str, int], ...]:
    """Give where distributions may lie, with the times that change when one is (un)installed."""
    found = []
    for place in sys.path:
        try:
            # Each start of a run comes here several times: a `Path` costs ten times its `stat`.
            found.append((place, os.stat(place or ".").st_mtime_ns))  # noqa: PTH116
        except OSError:  # such as an entry that is no file
            found.append((place, 0))
    return tuple(found)


@lru_cache(maxsize=128)
def _entry_points_in(
    place: str, _changed_at: int, prefix: str
) -> tuple[tuple[tuple[Declared, ...], ...], tuple[Damaged, ...]]:
    """Give the entry points of each distribution in a place, and the damaged ones."""
    if has_none(place):
        return (), ()
    found: list[tuple[Declared, ...]] = []
    if (kept := recall(place, prefix)) is not None:
        with suppress(TypeError, ValueError):  # it is damaged
            return tuple(tuple(_kept_before(*one) for one in declared) for declared in kept), ()
    from importlib_metadata import distributions  # 20 ms

    damaged: list[Damaged] = []
    for distribution in distributions(path=[place]):
        try:
            found.append(tuple(_declared(distribution, prefix)))
        except Exception as error:  # what its files hold, and what reading them raises, is open
            damaged.append(Damaged(_place(distribution), f"{type(error).__name__}: {error}"))
    found = [declared for declared in found if declared]
    if not damaged:
        remember(place, prefix, [[attrs.astuple(one) for one in declared] for declared in found])
    return tuple(found), tuple(damaged)


def _kept_before(*told: Any) -> Declared:
    *texts, requires = told
    group, name, value, distribution, version, summary = map(str, texts)
    return Declared(group, name, value, distribution, version, summary, tuple(requires))


def version_of(distribution: str) -> str:
    """Give the version of a distribution; empty where it is not installed, or does not say it."""
    from importlib_metadata import version

    try:
        return str(version(distribution) or "")
    except Exception:  # not installed, or its metadata is damaged
        return ""


def requirements_of(distribution: str) -> tuple[str, ...]:
    """Give what a distribution requires, a line for each; nothing where it does not say it."""
    for one in find_entry_points(OURS)[0]:
        if one.requires and normal_name(one.distribution) == normal_name(distribution):
            return one.requires
    from importlib_metadata import distributions

    try:
        installed = (_headers_of(found) for found in distributions(name=distribution))
        headers = next(filter(None, installed), [])
    except Exception:  # its metadata is damaged
        return ()
    return _required_by(headers)


def _required_by(headers: list[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(value for name, value in headers if name == "requires-dist")


def normal_name(name: str) -> str:
    """Give the form of a name in which two are equal that mean the same distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(distribution: Distribution, prefix: str) -> Iterator[Declared]:
    text = distribution.read_text("entry_points.txt") or ""
    if prefix not in text:
        return  # most have none of ours, and their metadata is long
    _refuse_lines_without_section(text)
    told = _told(distribution)
    for point in distribution.entry_points:
        if point.group.startswith(prefix):
            yield Declared(point.group, point.name, point.value, *told)


def _refuse_lines_without_section(text: str) -> None:
    """Raise where the library would pass over lines without a word, as behind `[group` without `]`.

    Raises:
        ValueError: A line stands in no section.
    """
    is_in_section = False
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("["):
            if not line.endswith("]"):
                raise ValueError(f"'{line}' lacks its ]")
            is_in_section = True
        elif not is_in_section and not line.startswith("#"):
            raise ValueError(f"'{line}' stands in no [section]")


def _told(distribution: Distribution) -> tuple[str, str, str, tuple[str, ...]]:
    """Give the name, version, summary and requirements that a distribution's metadata tells."""
    try:
        headers = _headers_of(distribution)
    except Exception:  # there is no metadata, or it cannot be read
        return "", "", "", ()
    told = dict(reversed(headers))  # of a line that is there twice the first
    texts = told.get("name", ""), told.get("version", ""), told.get("summary", "")
    return *texts, _required_by(headers)


def _headers_of(distribution: Distribution) -> list[tuple[str, str]]:
    """Give the lines of a distribution's metadata before its description, by their names.

    The library would import a reader of mails for them, which takes longer than all the rest.
    """
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    head = re.sub(r"\n[ \t]+", " ", text.partition("\n\n")[0])
    parted = (line.partition(":") for line in head.split("\n") if ":" in line)
    return [(name.lower(), value.strip()) for name, _, value in parted]


def _place(distribution: Distribution) -> str:
    folder = str(distribution)  # since release 9
    is_folder = folder.endswith("-info")
    return _told(distribution)[0] or (folder if is_folder else str(distribution.locate_file("")))


def _without_copies(found: list[Declared]) -> Iterator[Declared]:
    """Leave out what a distribution without a name declares, and one with a name does, too."""
    named = {(one.group, one.name, one.value) for one in found if one.distribution}
    for one in found:
        if one.distribution or (one.group, one.name, one.value) not in named:
            yield one
