# company_format.py
"""Signals of our sensors, and the format in which steps hand them on."""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

import attrs


@attrs.frozen
class Signal:
    """What a sensor has measured."""

    sensor: str
    unit: str
    values: tuple[float, ...]


class SignalMaterializer:
    """A line of JSON that describes a signal, and behind it its values as little-endian doubles."""

    name = "company-signal"
    suffix = ".signal"

    def can_save(self, value: Any) -> bool:
        return type(value) is Signal

    def save(self, value: Signal, file: BinaryIO) -> None:
        if any(type(number) is not float for number in value.values):
            raise TypeError("a signal of other numbers than floats would come back changed")
        about = {"sensor": value.sensor, "unit": value.unit, "count": len(value.values)}
        file.write(json.dumps(about, sort_keys=True).encode() + b"\n")
        file.write(struct.pack(f"<{len(value.values)}d", *value.values))

    def load(self, file: BinaryIO) -> Signal:
        about = json.loads(file.readline())
        values = struct.unpack(f"<{about['count']}d", file.read())
        return Signal(about["sensor"], about["unit"], values)
