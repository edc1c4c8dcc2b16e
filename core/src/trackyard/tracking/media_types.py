"""Which media type does a file's name say that it has?"""

from __future__ import annotations


def media_type_of(name: str) -> str | None:
    """Give the media type that goes with a name's suffix, or None.

    Args:
        name: The file's name.
    """
    import mimetypes  # it reads the tables of the system

    return mimetypes.guess_type(name)[0]
