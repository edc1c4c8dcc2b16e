"""Which texts on disk did processes of this user write?

A key in the user's own configuration folder stamps them. A folder that comes from elsewhere, a
clone or what somebody mailed, cannot hold a stamp of that key.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from trackyard.system.files import make_private_folder, write_whole
from trackyard.system.locks import exclusively

logger = logging.getLogger("trackyard")

_SIZE = 32


def users_folder() -> Path:
    """Give the folder of the user's own configuration, which need not exist."""
    if sys.platform == "linux":  # what the library says there, whose import takes 10 ms
        configured = os.environ.get("XDG_CONFIG_HOME", "").strip()
        return Path(configured or "~/.config").expanduser() / "trackyard"
    from platformdirs import user_config_path

    return user_config_path("trackyard")


def stamp_of(*texts: str) -> str:
    """Give the stamp of texts; it is empty where this user can have no key.

    The first stamp of a user makes the key.
    """
    key = _key(users_folder() / "key")
    return "" if key is None else _stamp(key, texts)


def is_stamped(stamp: object, *texts: str) -> bool:
    """Tell whether a stamp was made of these texts with this user's key.

    Args:
        stamp: What stands beside the texts.
        texts: What it was made of, in order.
    """
    if not isinstance(stamp, str) or not stamp or not stamp.isascii():
        return False
    from hmac import compare_digest

    try:
        key = _existing(users_folder() / "key")
    except FileNotFoundError:
        return False
    return compare_digest(stamp, _stamp(key, texts))


def _stamp(key: bytes, texts: tuple[str, ...]) -> str:
    from hmac import digest  # as seldom as a run starts or is read

    # Each with its length: where one ends and the next begins is a part of what is stamped.
    parts = (text.encode("utf-8", "surrogatepass") for text in texts)
    message = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return digest(key, message, "sha256").hex()


@cache
def _existing(path: Path) -> bytes:
    """Give the key where there is one; a list asks for that once for each of its runs.

    Raises:
        FileNotFoundError: There is none, up to now.
    """
    key = _read(path)
    if key is None:
        raise FileNotFoundError(path)
    return key


@cache
def _key(path: Path) -> bytes | None:
    """Give the user's key, which is made if need be; None where there can be none."""
    try:
        return _read(path) or _make(path)
    except OSError as error:
        logger.warning(
            "%s cannot be made (%s): after a crash runs of this process wait for: trackyard sync",
            path,
            error.strerror,
        )
        return None


def _read(path: Path) -> bytes | None:
    """Read the key; None where there is none that is this user's alone."""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(file)
            is_private = not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
            if stat.S_ISREG(status.st_mode) and is_private and status.st_uid == os.geteuid():
                key = os.read(file, _SIZE)
                return key if len(key) == _SIZE else None
        finally:
            os.close(file)
    return None


def _make(path: Path) -> bytes | None:
    """Make the key; of several processes that do so at once one is the first.

    Raises:
        OSError: It cannot be written.
    """
    make_private_folder(path.parent)
    with exclusively(path.with_suffix(".lock")):
        if (key := _read(path)) is not None:
            return key
        # What stood there others could read, or it was not whole.
        write_whole(path, os.urandom(_SIZE), is_synced=True)
    return _read(path)
