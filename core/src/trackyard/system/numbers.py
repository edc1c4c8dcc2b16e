"""How are many numbers held in 8 bytes each, and still look like a list?"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any


class Numbers(array):  # type: ignore[type-arg]
    """Numbers of one type: an `array` that is equal to a list of the same numbers.

    Slices are lists; numpy takes it without copying.
    """

    @classmethod
    def floats(cls, values: Iterable[float] = ()) -> Numbers:
        """Hold floats.

        Args:
            values: The first ones.
        """
        return cls("d", values)

    @classmethod
    def integers(cls, values: Iterable[int] = ()) -> Numbers:
        """Hold integers of 64 bits.

        Args:
            values: The first ones.
        """
        return cls("q", values)

    def __getitem__(self, index: Any) -> Any:
        """Give one of them, or some as a list."""
        found = super().__getitem__(index)
        return found.tolist() if isinstance(index, slice) else found

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list | tuple):
            return self.tolist() == [*other]
        return super().__eq__(other)

    __hash__ = None

    def __repr__(self) -> str:
        return repr(self.tolist())
