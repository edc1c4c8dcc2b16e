"""How are numpy arrays stored?"""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

_PIECE = 4 << 20


class NumpyMaterializer:
    """numpy arrays, in numpy's own format."""

    name = "numpy"
    suffix = ".npy"

    def can_save(self, value: Any) -> bool:
        """Arrays of numbers and texts; such of Python objects would need pickle."""
        numpy = sys.modules.get("numpy")
        return numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write the array with its type and shape, some MiB at a time."""
        from numpy.lib import format as npy

        if value.dtype.names is None and value.flags.c_contiguous and value.nbytes > _PIECE:
            # `numpy.save` would copy each piece before it is written to what is no plain file.
            npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(value))
            pieces = value.reshape(-1).view("u1").data
            for start in range(0, len(pieces), _PIECE):
                file.write(pieces[start : start + _PIECE])
        else:
            npy.write_array(file, value, allow_pickle=False)

    def load(self, file: BinaryIO) -> Any:
        """Read the array."""
        from numpy.lib.format import read_array  # `numpy.load` would want to seek

        return read_array(file, allow_pickle=False)
