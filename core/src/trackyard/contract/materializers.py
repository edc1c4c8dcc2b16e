"""In which format does a step's output lie, and how is a value turned into a file and back?"""

from __future__ import annotations

from typing import Any, BinaryIO, Protocol

import attrs


@attrs.frozen
class StoredOutput:
    """Where a step's output lies.

    Attributes:
        uri: Full address in the artifact store.
        materializer: Name of its format.
        size: Bytes.
        sha256: Digest of the bytes, as hexadecimal digits.
    """

    uri: str
    materializer: str
    size: int
    sha256: str


class Materializer(Protocol):
    """A format: turns values of some types into a file and back, without loss.

    One object serves all steps of a process, from several threads at once: it keeps nothing of a
    value. A class attribute `needs_trust = True` says that loading a file runs code which the file
    names, as a pickle does: such files are loaded from a trusted artifact store only.

    Attributes:
        name: What is recorded with an output; the format of this name loads it again.
        suffix: Of the file, with its dot.
    """

    name: str
    suffix: str

    def can_save(self, value: Any) -> bool:
        """Tell whether a value comes back equal and of the same type; raise nothing.

        It is asked of every value that a step gives, of whatever type, and changes nothing. Where
        only writing can tell, say yes: an error of `save` leaves the value to the next format.
        """

    def save(self, value: Any, file: BinaryIO) -> None:
        """Write a value to a file that cannot seek, and leave the file open.

        The same value gives the same bytes in each process. What writing raises goes on to the
        caller, who takes back what was written.

        Args:
            value: A value that `can_save` takes.
            file: Open for writing, in binary.

        Raises:
            OutputError: The value can be stored in no format at all.
        """

    def load(self, file: BinaryIO) -> Any:
        """Read the value again, from a file that cannot seek and is closed afterwards."""


def needs_trust(materializer: Materializer) -> bool:
    """Tell whether loading a file of a format runs code that the file names."""
    return bool(getattr(materializer, "needs_trust", False))
