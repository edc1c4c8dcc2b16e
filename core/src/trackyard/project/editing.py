"""How is a configuration file changed by several processes at once without losing anything?"""

from __future__ import annotations

import fcntl
import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trackyard.contract.errors import ConfigError
from trackyard.system.files import write_whole


def edit_file(file: Path, change: Callable[[str], str]) -> None:
    """Change a file's text: whole or not at all, and by one process at a time.

    The lock is on the file itself, which is replaced by each change: who waited for it looks
    whether it still has the file that is there. A file that is missing is made.

    Args:
        file: The file; where it is a link, what that leads to is changed.
        change: Makes the new text from the old one; what it raises leaves the file as it was.

    Raises:
        ConfigError: It cannot be read or written, or is not valid TOML.
    """
    file = file.resolve()
    is_new = not file.exists()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file) as descriptor:
            try:
                text = file.read_text(encoding="utf-8")
                changed = change(text)
                if changed != text:
                    mode = os.fstat(descriptor).st_mode & 0o7777
                    write_whole(file, changed, is_synced=True, mode=mode)
            except BaseException:
                if is_new and not file.stat().st_size:
                    file.unlink()
                raise
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: is not valid TOML: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be changed: {error.strerror}") from error


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_there(file, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_there(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
