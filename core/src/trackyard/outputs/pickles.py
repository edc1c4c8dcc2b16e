"""How is a value stored that no other format holds?"""

from __future__ import annotations

from typing import Any, BinaryIO


class PickleMaterializer:
    """Anything else that cloudpickle can hold."""

    name = "cloudpickle"
    suffix = ".pkl"
    needs_trust = True

    def can_save(self, value: Any) -> bool:  # noqa: ARG002 - the protocol's signature
        """Whether it can is known when it is tried."""
        return True

    def save(self, value: Any, file: BinaryIO) -> None:
        """Pickle the value."""
        import cloudpickle

        cloudpickle.dump(value, file)

    def load(self, file: BinaryIO) -> Any:
        """Unpickle the value, which runs code: the caller has checked that the store is trusted."""
        import cloudpickle

        return cloudpickle.load(file)
