"""Has the system nothing left for what was tried: no memory, thread, process or file?"""

from __future__ import annotations

import errno

# What a system says that has nothing left to give.
_NUMBERS = {
    *(errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
}
# What loaders of shared objects say then (glibc, musl, dyld), and Python of threads.
_TEXTS = (
    *("failed to map segment", "cannot allocate memory", "too many open files"),
    *("mmap() failed", "cannot create shared object descriptor", "error while mapping"),
    "can't start new thread",
)
# What Python's own C code says where it could not even make a MemoryError.
_NO_ERROR = ("error return without exception set", "returned NULL without setting an exception")


def is_starved(error: BaseException | None) -> bool:
    """Tell whether an error, or what it was raised from, says so.

    Args:
        error: What was raised.
    """
    while error is not None:
        if isinstance(error, MemoryError | RecursionError):
            return True
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        if type(error) in (ImportError, RuntimeError):
            text = str(error).lower()
            if any(words in text for words in _TEXTS):
                return True
        if isinstance(error, BaseExceptionGroup):
            return any(is_starved(inner) for inner in error.exceptions)
        if isinstance(error, SystemError) and any(words in str(error) for words in _NO_ERROR):
            return True
        error = error.__cause__
    return False
