"""How does a step hear that it is cancelled, also while it waits outside of Python?"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# No signal has this number. The end of the file would not do: a child that the step has forked, and
# left behind, has the pipe open, too.
_END = b"\0"


@contextmanager
def woken_by_cancel() -> Iterator[None]:
    """Have `ray.cancel` interrupt also `time.sleep` and the like, in the main thread.

    Ray marks SIGINT as arrived and sends no signal, which is seen once such a call returns. What
    is marked is written to the wakeup file, too: then the main thread is sent a signal that does
    nothing but make it look.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main or main.ident is None:
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    arguments = (reading, main.ident)
    waker = threading.Thread(target=_wake, args=arguments, name="trackyard-ray-waker", daemon=True)
    handler = signal.signal(signal.SIGURG, lambda *_: None)
    file = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    waker.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(file)
        signal.signal(signal.SIGURG, handler)
        os.set_blocking(writing, True)
        os.write(writing, _END)
        waker.join()
        os.close(writing)
        os.close(reading)


def _wake(reading: int, thread: int) -> None:
    while (number := os.read(reading, 1)) != _END:
        if number[0] == signal.SIGINT:
            signal.pthread_kill(thread, signal.SIGURG)
