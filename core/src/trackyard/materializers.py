"""In which format is a step's output stored, and how is it loaded again?

A format is chosen by the value's type. cloudpickle comes last, is recorded as such, and its files
are loaded from a trusted store only, since loading one runs code.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any, Protocol

_JSON_SCALARS = (type(None), bool, int, float, str)


class Materializer(Protocol):
    """Turns values of some types into bytes and back, without loss."""

    name: str
    suffix: str

    def can_save(self, value: Any) -> bool:
        """Tell whether a value comes back equal and of the same type."""

    def save(self, value: Any) -> bytes:
        """Give the bytes of a value."""

    def load(self, data: bytes) -> Any:
        """Give the value again."""


class JsonMaterializer:
    """None, truth values, numbers, texts, and lists and dicts of these."""

    name = "json"
    suffix = ".json"

    def can_save(self, value: Any) -> bool:
        """Only exact types: a tuple would come back as a list."""
        kind = type(value)
        if kind is str:
            return _is_encodable(value)
        if kind in _JSON_SCALARS:
            return kind is not int or abs(value) < 10**4000
        if kind is list:
            return len(value) <= 100_000 and all(self.can_save(item) for item in value)
        if kind is dict:
            keys_fit = all(type(key) is str and _is_encodable(key) for key in value)
            return keys_fit and all(self.can_save(item) for item in value.values())
        return False

    def save(self, value: Any) -> bytes:
        """Write JSON in ASCII."""
        return json.dumps(value).encode("ascii")

    def load(self, data: bytes) -> Any:
        """Read JSON; NaN and infinities as Python writes them."""
        return json.loads(data)


class BytesMaterializer:
    """Bytes, as they are."""

    name = "bytes"
    suffix = ".bin"

    def can_save(self, value: Any) -> bool:
        """Tell whether it is bytes."""
        return type(value) is bytes

    def save(self, value: Any) -> bytes:
        """Give the bytes."""
        return bytes(value)

    def load(self, data: bytes) -> Any:
        """Give the bytes."""
        return data


class NumpyMaterializer:
    """numpy arrays, in numpy's own format."""

    name = "numpy"
    suffix = ".npy"

    def can_save(self, value: Any) -> bool:
        """Arrays of numbers and texts; such of Python objects would need pickle."""
        numpy = sys.modules.get("numpy")
        return numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject

    def save(self, value: Any) -> bytes:
        """Write the array with its type and shape."""
        import numpy

        buffer = io.BytesIO()
        numpy.save(buffer, value, allow_pickle=False)
        return buffer.getvalue()

    def load(self, data: bytes) -> Any:
        """Read the array."""
        import numpy

        return numpy.load(io.BytesIO(data), allow_pickle=False)


class PickleMaterializer:
    """Anything else that cloudpickle can hold."""

    name = "cloudpickle"
    suffix = ".pkl"

    def can_save(self, value: Any) -> bool:  # noqa: ARG002 - the protocol's signature
        """Whether it can is known when it is tried."""
        return True

    def save(self, value: Any) -> bytes:
        """Pickle the value."""
        import cloudpickle

        return bytes(cloudpickle.dumps(value))

    def load(self, data: bytes) -> Any:
        """Unpickle the value, which runs code: the caller has checked that the store is trusted."""
        import cloudpickle

        return cloudpickle.loads(data)


MATERIALIZERS: tuple[Materializer, ...] = (
    JsonMaterializer(),
    BytesMaterializer(),
    NumpyMaterializer(),
    PickleMaterializer(),
)


def materializer_for(value: Any) -> Materializer:
    """Choose the first format that holds a value without loss."""
    return next(m for m in MATERIALIZERS if _can_save(m, value))


def materializer_named(name: str) -> Materializer:
    """Find a format by the name that was recorded with an output.

    Raises:
        KeyError: There is no such format here.
    """
    return {m.name: m for m in MATERIALIZERS}[name]


def _can_save(materializer: Materializer, value: Any) -> bool:
    try:
        return materializer.can_save(value)
    except RecursionError:  # it is nested too deeply, or holds itself
        return False


def _is_encodable(text: str) -> bool:
    """Tell whether JSON keeps a text: of two lone surrogates in a row it makes one character."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False
