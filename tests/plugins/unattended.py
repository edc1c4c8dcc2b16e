"""Do signals reach tests and their programs also below `nohup`, or behind `&` in a script?

A plugin of pytest. There the shell has pytest ignore SIGINT or SIGHUP, and what is ignored stays so
in each child, while what has a handler is reset to the default in a program that is started.
"""

from __future__ import annotations

import signal

HANDLERS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: lambda *_: None,  # pytest itself outlives the terminal, as it was asked to
}


def pytest_configure() -> None:
    for number, handler in HANDLERS.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
