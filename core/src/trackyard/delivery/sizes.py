"""About how many bytes does a record take as it is sent, and how much of a text fits?"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import attrs

from trackyard.contract.context import Context, Git
from trackyard.contract.records import Artifact, Record

# What a record takes besides its key and its text.
FRAME = 100
# Most bytes of a character that is escaped: two times `\uXXXX`.
_ESCAPED = 12


def size_as_sent(record: Record) -> int:
    """Give about how many bytes a record takes as JSON, but for a file's content.

    Args:
        record: The record.
    """
    if isinstance(record, Context):
        return FRAME + len(json.dumps(record.plain()))
    key = getattr(record, "key", "")
    value = getattr(record, "value", None)
    own = FRAME + (len(key) if key.isascii() else _ESCAPED * len(key))
    return own + len(json.dumps(value)) if isinstance(value, str) else own


def size_of_file(record: Record) -> int:
    """Give the bytes of an artifact's file; 0 of anything else, and where it cannot be read.

    Args:
        record: The record.
    """
    if not isinstance(record, Artifact):
        return 0
    try:
        return record.path.stat().st_size
    except OSError:
        return 0


def shortened_to(text: str, most: int) -> str:
    """Give as much of a text as fits into so many bytes of JSON, with `…` at its end.

    Args:
        text: The text.
        most: The bytes.
    """
    room = most - len(json.dumps("…"))
    length = bisect_right(range(len(text)), room, key=lambda n: len(json.dumps(text[:n])) - 2)
    return text[: max(length - 1, 0)] + "…"


def fitted_context(context: Context, most: int | None) -> Context:
    """Give as much of where a run comes from as a request takes.

    The packages go first, then the ends of texts that are long.

    Args:
        context: All that is known.
        most: The bytes, or None where the backend has no limit.
    """
    if most is None or size_as_sent(context) <= most:
        return context
    bare = attrs.evolve(context, packages={})
    if size_as_sent(bare) <= most:
        return bare
    texts = [*_texts_of(bare), *bare.command, *bare.gpus, *bare.job.values()]
    texts += _texts_of(bare.git or Git())
    # Half of the request is left for the names, and for what is no text.
    shown = _with_texts_of(bare, max(most // (2 * len(texts)), 8) if texts else 8)
    return shown if size_as_sent(shown) <= most else Context()


def _texts_of(values: Context | Git) -> list[str]:
    return [value for value in attrs.astuple(values, recurse=False) if isinstance(value, str)]


def _with_texts_of(context: Context, most: int) -> Context:
    def short(text: str) -> str:
        return text if len(json.dumps(text)) <= most else shortened_to(text, most)

    def shortened(value: Any) -> Any:
        if isinstance(value, str):
            return short(value)
        if isinstance(value, tuple):
            return tuple(short(text) for text in value)
        if isinstance(value, Mapping):
            return {key: short(text) for key, text in value.items()}
        if isinstance(value, Git):
            return attrs.evolve(value, **{k: shortened(v) for k, v in _fields(value).items()})
        return value

    return attrs.evolve(context, **{k: shortened(v) for k, v in _fields(context).items()})


def _fields(values: Context | Git) -> dict[str, Any]:
    return attrs.asdict(values, recurse=False)
