"""How is a TOML text changed so that all the rest stays as it is: comments, order, unknown tables?

A change is made in the lines of the table that it concerns, with tomlkit; comments between two
tables stay where they are. The result is read again and compared with what it must say. Tables in
another notation (inline, dotted) are changed in the whole document by tomlkit.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, MutableMapping
from copy import deepcopy
from functools import lru_cache
from itertools import pairwise
from typing import Any

Path = tuple[str, ...]
Change = Callable[[MutableMapping[str, Any]], None]

_HEADER = re.compile(r"""^[ \t]*\[(?!\[)(?P<keys>[\w\-."' \t]+)\][ \t]*(#.*)?$""")
_BARE = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)


@lru_cache(maxsize=2)
def parsed(text: str) -> dict[str, Any]:
    """Read a text, which is asked for again and again; the result must not be changed.

    Raises:
        tomllib.TOMLDecodeError: It is no TOML.
    """
    return tomllib.loads(text)


def set_values(text: str, path: Path, values: Mapping[str, Any]) -> str:
    """Set keys of a table, which is made at the end where it is missing.

    Args:
        text: The file's text.
        path: Its keys, such as `("stacks", "default")`.
        values: What to set in it.
    """

    def change(document: MutableMapping[str, Any]) -> None:
        table = document
        for key in path:
            table = table.setdefault(key, {})
        for key, value in values.items():
            table[key] = _inline(value) if table is not document or path else value

    lines = text.splitlines(keepends=True)
    span = _span(lines, path)
    if span is None:
        ending = "" if not text or text.endswith("\n") else "\n"
        gap = "\n" if text else ""
        spliced = f"{text}{ending}{gap}{_new_table(path, values)}"
    else:
        spliced = _spliced(lines, span, lambda table: table.update(_inlined(values)))
    return _checked(text, spliced, change)


def remove_values(text: str, path: Path, keys: tuple[str, ...]) -> str:
    """Remove keys of a table.

    Args:
        text: The file's text.
        path: Its keys, such as `("stacks", "default")`.
        keys: What to take out of it.
    """

    def remove(table: MutableMapping[str, Any]) -> None:
        for key in keys:
            del table[key]

    lines = text.splitlines(keepends=True)
    span = _span(lines, path)
    spliced = _spliced(lines, span, remove) if span else text
    return _checked(text, spliced, lambda document: remove(_at(document, path)))


def remove_table(text: str, path: Path) -> str:
    """Remove a table and what is below it.

    Args:
        text: The file's text.
        path: Its keys, such as `("stacks", "default")`.
    """
    lines = text.splitlines(keepends=True)
    for span in reversed(_spans_below(lines, path)):
        start, end = span
        before_is_empty = start == 0 or not lines[start - 1].strip()
        while before_is_empty and end < len(lines) and not lines[end].strip():
            end += 1
        del lines[start:end]
    return _checked(text, "".join(lines), lambda document: _remove(document, path))


def rename_table(text: str, path: Path, name: str) -> str:
    """Give the last key of a table's path another name.

    Args:
        text: The file's text.
        path: Its keys, such as `("stacks", "default")`.
        name: Its last key from now on.
    """
    lines = text.splitlines(keepends=True)
    for start, _ in _spans_below(lines, path):
        keys = _header(lines[start]) or ()
        _, _, rest = lines[start].partition("]")
        lines[start] = f"[{_dotted((*path[:-1], name, *keys[len(path) :]))}]{rest}"

    def rename(document: MutableMapping[str, Any]) -> None:
        tables = _at(document, path[:-1])
        tables[name] = tables.pop(path[-1])

    return _checked(text, "".join(lines), rename)


def _checked(text: str, spliced: str, change: Change) -> str:
    """Give the spliced text where it says what it must, else what tomlkit makes of all."""
    import tomlkit

    wanted = deepcopy(parsed(text))
    change(wanted)
    if _says(spliced, wanted):
        return spliced
    document = tomlkit.parse(text)
    change(document)
    whole = tomlkit.dumps(document)
    if _says(whole, wanted):
        return whole
    raise ValueError("is written in a way that cannot be changed safely; change it by hand")


def _says(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        found = parsed(text)
    except tomllib.TOMLDecodeError:
        return False
    return _without_empty(found) == _without_empty(wanted)


def _without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out empty tables on the way: TOML does not need them."""
    nested = {k: _without_empty(v) if isinstance(v, Mapping) else v for k, v in table.items()}
    return {key: value for key, value in nested.items() if value != {}}


def _spliced(lines: list[str], span: tuple[int, int], change: Change) -> str:
    """Change the keys in some lines, of which the first may be a table's header."""
    import tomlkit
    import tomlkit.exceptions

    start, end = span
    has_header = start < end and _header(lines[start]) is not None
    head = lines[start : start + 1] if has_header else []
    try:
        document = tomlkit.parse("".join(lines[start + len(head) : end]))
        change(document)
    except (tomlkit.exceptions.TOMLKitError, KeyError):
        return ""  # these lines are no table of their own: the whole document is changed
    body = tomlkit.dumps(document)
    if not has_header and end < len(lines) and body and lines[end].strip():
        body += "\n"  # between a first key and the comment or table below it
    return "".join([*lines[:start], *head, body, *lines[end:]])


def _span(lines: list[str], path: Path) -> tuple[int, int] | None:
    """Give the lines of a table: from its header to its last key, without comments below that."""
    headers = [index for index, line in enumerate(lines) if _header(line) is not None]
    headers.append(len(lines))
    if not path:
        return 0, _end_of_keys(lines, 0, headers[0])
    for start, following in pairwise(headers):
        if _header(lines[start]) == path:
            return start, _end_of_keys(lines, start + 1, following)
    return None


def _spans_below(lines: list[str], path: Path) -> list[tuple[int, int]]:
    """Give the lines of a table and of every table inside it."""
    paths = [header for line in lines if (header := _header(line)) is not None]
    inside = dict.fromkeys(found for found in paths if found[: len(path)] == path)
    return sorted(span for found in inside if (span := _span(lines, found)) is not None)


def _end_of_keys(lines: list[str], start: int, end: int) -> int:
    while end > start and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _header(line: str) -> Path | None:
    """Give the key path of a line such as `[stacks."a b"]`, or None."""
    match = _HEADER.match(line)
    if match is None:
        return None
    if _BARE.fullmatch(match["keys"]):
        return tuple(match["keys"].split("."))
    try:
        table: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    keys = []
    while table:
        ((key, table),) = table.items()
        keys.append(key)
    return tuple(keys)


def _new_table(path: Path, values: Mapping[str, Any]) -> str:
    import tomlkit

    body = tomlkit.dumps(_inlined(values))
    return f"[{_dotted(path)}]\n{body}" if path else body


def _inlined(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _inline(value) for key, value in values.items()}


def _inline(value: Any) -> Any:
    """Write a table inside a table on its line."""
    import tomlkit

    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    table.update(_inlined(value))
    return table


def _dotted(path: Path) -> str:
    import tomlkit

    return ".".join(tomlkit.key(key).as_string() for key in path)


def _at(document: MutableMapping[str, Any], path: Path) -> MutableMapping[str, Any]:
    for key in path:
        document = document[key]
    return document


def _remove(document: MutableMapping[str, Any], path: Path) -> None:
    del _at(document, path[:-1])[path[-1]]
