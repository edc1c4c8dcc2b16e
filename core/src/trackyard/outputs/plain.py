"""How are texts, bytes, numbers and what JSON holds of them stored?"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

_JSON_SCALARS = (type(None), bool, int, float, str)
_PIECE = 100_000  # items
_MOST_BITS = 13_000  # Python reads 4,300 digits and no more


class TextMaterializer:
    """Texts, in UTF-8 and without a change to their line ends."""

    name = "text"
    suffix = ".txt"

    def can_save(self, value: Any) -> bool:
        """Texts that UTF-8 holds; a lone surrogate is left to JSON and pickle."""
        return type(value) is str and _is_encodable(value)

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the text."""
        file.write(value.encode())

    def load(self, file: BinaryIO) -> Any:
        """Read the text."""
        return file.read().decode()


class JsonMaterializer:
    """None, truth values, numbers, texts, and lists and dicts of these."""

    name = "json"
    suffix = ".json"

    def can_save(self, value: Any) -> bool:
        """Only exact types: a tuple would come back as a list."""
        try:
            return _is_json(value)
        except RecursionError:  # nested too deeply, or in itself
            return False

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write JSON in ASCII, of a long list some items at a time."""
        if type(value) is not list or len(value) <= _PIECE:
            file.write(json.dumps(value).encode("ascii"))
            return
        for start in range(0, len(value), _PIECE):
            items = json.dumps(value[start : start + _PIECE])[1:-1]
            file.write(("," if start else "[").encode() + items.encode("ascii"))
        file.write(b"]")

    def load(self, file: BinaryIO) -> Any:
        """Read JSON; NaN and infinities as Python writes them."""
        return json.loads(file.read())


class BytesMaterializer:
    """Bytes, as they are."""

    name = "bytes"
    suffix = ".bin"

    def can_save(self, value: Any) -> bool:
        """Tell whether it is bytes."""
        return type(value) is bytes

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the bytes."""
        file.write(value)

    def load(self, file: BinaryIO) -> Any:
        """Read the bytes."""
        return file.read()


def _is_json(value: Any) -> bool:
    if type(value) is list:
        return all(is_scalar(item) or _is_json(item) for item in value)
    if type(value) is dict:
        keys_fit = all(type(key) is str and is_scalar(key) for key in value)
        return keys_fit and all(_is_json(item) for item in value.values())
    return is_scalar(value)


def is_scalar(value: Any) -> bool:
    """Tell whether JSON keeps a value that holds no others."""
    kind = type(value)
    if kind is str:
        return _is_encodable(value)
    return kind in _JSON_SCALARS and (kind is not int or value.bit_length() < _MOST_BITS)


def _is_encodable(text: str) -> bool:
    """Tell whether UTF-8 keeps a text: of two lone surrogates in a row it makes one character."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False
