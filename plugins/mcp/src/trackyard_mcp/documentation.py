"""Which part of Trackyard's documentation answers a question?"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import attrs

from trackyard import TrackyardError

FOLDER = Path(__file__).parent / "pages"
# Characters that are read at once, and of an excerpt.
MOST, EXCERPT = 20_000, 600
_HEADING = re.compile(r"^#{1,4} (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_ENDS = re.compile(r"(?<=\w{3})(?:ing|ed|es|s)$")
# Words that say nothing of what a question is about.
_COMMON = re.compile(
    r"(an?|and|are|as|at|be|by|do|does|for|from|how|in|is|its?|my|of|on|or|that|the|then|to|what"
    r"|when|where|which|who|why|with)"
)


@attrs.frozen
class Section:
    """A part of a page, from its heading to the next one."""

    page: str
    heading: str
    text: str


def pages() -> list[str]:
    """Name the pages, such as `runs` and `flavors/mlflow`."""
    found = (path.relative_to(FOLDER) for path in FOLDER.glob("**/*.md"))
    return sorted(path.with_suffix("").as_posix() for path in found)


def path_of(page: str) -> Path:
    """Say where a page is.

    Args:
        page: Its name.
    """
    return FOLDER / f"{page}.md"


def read(page: str, offset: int = 0) -> tuple[str, int | None]:
    """Read a page; give its text from a place on, and the next place where there is more.

    Args:
        page: Its name.
        offset: How many characters to pass over.

    Raises:
        TrackyardError: There is no such page.
    """
    name = page.removesuffix(".md")
    if name not in pages():
        raise TrackyardError(f"no page {page!r}; there are {', '.join(pages())}")
    text = path_of(name).read_text(encoding="utf-8")
    end = max(0, offset) + MOST
    return text[max(0, offset) : end], end if end < len(text) else None


def search(words: str, most: int = 6) -> list[Section]:
    """Find the sections that tell most of some words; rare words count more, and headings.

    Args:
        words: A question, or some words.
        most: How many at most.
    """
    wanted = _words(words)
    sections = _sections()
    known = {word: sum(word in section.words for section in sections) for word in wanted}
    weights = {word: math.log(len(sections) / n) for word, n in known.items() if n}
    length = sum(section.words.total() for section in sections) / len(sections)
    scored = [(_score(section, weights, length), section) for section in sections]
    found = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: -pair[0])
    return [Section(s.page, s.heading, _excerpt(s.text, weights)) for _, s in found[:most]]


def _score(section: _Counted, weights: Mapping[str, float], length: float) -> float:
    """Weigh a section as BM25 does, with headings beside it; guides stand before references."""
    heading = _words(f"{section.page} {section.heading}")
    rarity = 1.2 * (0.25 + 0.75 * section.words.total() / length)
    score = sum(
        weight * (2.2 * section.words[word] / (section.words[word] + rarity) + (word in heading))
        for word, weight in weights.items()
    )
    return score * (0.6 if section.page.startswith("reference/") else 1.0)


def _excerpt(text: str, weights: Mapping[str, float]) -> str:
    """Give the lines of a section that tell most, in order."""
    lines = text.splitlines()
    told = {
        index: sum(weight for word, weight in weights.items() if word in _words(line))
        for index, line in enumerate(lines)
    }
    chosen: set[int] = set()
    left = EXCERPT
    for index in sorted(told, key=lambda index: (index > 0, -told[index], index)):
        left -= len(lines[index])
        if left < 0 or (index and not told[index]):
            break
        chosen.add(index)
    return "\n".join(lines[index] for index in sorted(chosen)) or text[:EXCERPT]


def _words(text: str) -> Counter[str]:
    """Count the words of a text, without the ends that English puts to them."""
    found = re.findall(r"[a-z][a-z0-9]+", text.lower())
    return Counter(_ENDS.sub("", word) for word in found if not _COMMON.fullmatch(word))


@attrs.frozen
class _Counted:
    page: str
    heading: str
    text: str
    words: Counter[str]


@cache
def _sections() -> tuple[_Counted, ...]:
    found = []
    for page in pages():
        text = path_of(page).read_text(encoding="utf-8")
        # A comment in a block of code is no heading.
        blank = _FENCE.sub(lambda fence: " " * len(fence[0]), text)
        starts = [*_HEADING.finditer(blank)]
        ends = [*(match.start() for match in starts[1:]), len(text)]
        for match, end in zip(starts, ends, strict=True):
            part = text[match.start() : end]
            found.append(_Counted(page, match[1], part, _words(part)))
    return tuple(found)
