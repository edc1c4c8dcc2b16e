"""How is a value shown on a line, and as a table in a notebook?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self, TypeVar

import attrs

_T = TypeVar("_T")


class Shown:
    """A base of attrs classes: a repr that fits a line, and a table in notebooks."""

    __slots__ = ()

    def __repr__(self) -> str:
        texts = [value for value in _values(self, recurse=False).values() if isinstance(value, str)]
        kind = type(self).__name__.removesuffix("View")
        return line(f"<{kind} {' '.join(filter(None, texts[:3]))}>")

    def _repr_html_(self) -> str:
        rows = [(key, in_a_cell(value)) for key, value in _values(self).items()]
        return html_table(("", ""), rows)


class ShownAs:
    """A base of values that are shown as something else, in tables and as JSON."""

    __slots__ = ()

    def shown(self) -> Any:
        """Give what is shown."""
        raise NotImplementedError


def says(text: str) -> dict[str, str]:
    """Give the metadata of a field that says what it is, as the reference shows it."""
    return {"help": text}


class ShownList(list[_T]):
    """A list of shown values that is one table in notebooks.

    What none of them has gets no column, and names lead to where their `url` does.
    """

    def _repr_html_(self) -> str:
        if not self:
            return "<p>none</p>"
        tables = [_values(item) for item in self]
        rows = [{head: in_a_cell(value) for head, value in table.items()} for table in tables]
        heads = [head for head in rows[0] if any(row[head] for row in rows)]
        name = next((head for head in heads if head != "url"), "")
        for row, item in zip(rows, self, strict=True):
            if url := self._url_of(item, row.get("url")):
                row[name] = Link(row[name], url)
        return html_table(
            [head for head in heads if head != "url"],
            [[row[head] for head in heads if head != "url"] for row in rows],
        )

    def _url_of(self, item: _T, url: str | None) -> str | None:  # noqa: ARG002 - of subclasses
        return url


def _values(shown: Any, *, recurse: bool = True) -> Mapping[str, Any]:
    values: Mapping[str, Any] = attrs.asdict(shown, recurse=recurse, filter=is_shown)
    return values


def is_shown(field: attrs.Attribute[Any], _: Any) -> bool:
    """Tell whether a field is for people and programs outside; large ones are for Python alone."""
    return bool(field.metadata.get("json", True))


def in_a_cell(value: Any) -> str:
    """Write a value as people read it."""
    if isinstance(value, ShownAs):
        value = value.shown()
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={in_a_cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(in_a_cell(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def line(text: str) -> str:
    """Keep a text on one line: control characters would break it, or move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


class Link(str):
    """A text that leads somewhere.

    Args:
        text: The text.
        url: Where to; what is no address of a web page leads nowhere.
    """

    url: str | None

    def __new__(cls, text: str, url: str | None) -> Self:
        """Make the text."""
        made = super().__new__(cls, text)
        made.url = url
        return made


def html_text(text: str) -> str:
    """Write a text for notebooks, as a link where it is one.

    Args:
        text: The text.
    """
    safe = escaped(text)
    url = text.url if isinstance(text, Link) else text
    is_page = (url or "").startswith(("http://", "https://"))
    return f'<a href="{escaped(url or "")}">{safe}</a>' if is_page else safe


def html_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a table for notebooks; addresses of web pages become links, and `Link`s do.

    Args:
        head: The titles of the columns.
        rows: The cells of each row, as texts.
    """
    heads = "".join(f"<th>{html_text(text)}</th>" for text in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{html_text(text)}</td>' for text in row)}</tr>" for row in rows
    )
    return f"<table><tr>{heads}</tr>{lines}</table>"


def plain(value: Any) -> Any:
    """Make what JSON can hold: objects of attrs values, and no NaN, which JSON does not have."""
    if isinstance(value, ShownAs):
        value = value.shown()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if value is None or isinstance(value, bool | int):
        return value
    if attrs.has(type(value)):
        return plain(attrs.asdict(value, recurse=False, filter=is_shown))
    return value.isoformat() if isinstance(value, datetime) else str(value)


def escaped(text: str) -> str:
    """Give a text as HTML shows it.

    Args:
        text: Whatever it holds.
    """
    from html import escape  # a table of 2,000 names comes with it

    return escape(text)


def last_metric(metrics: Mapping[str, float]) -> str:
    """Give a running step's latest metric, such as `loss=0.25`, or nothing.

    Args:
        metrics: The last value of each, oldest names first; other threads may be at work on them.
            What the machine did, `system/...`, says nothing of the step.
    """
    try:
        key = next((key for key in reversed(list(metrics)) if not key.startswith("system/")), None)
        return "" if key is None else f"{key}={metrics[key]:.4g}"
    except (RuntimeError, KeyError):
        return ""
