"""What does a process of the orchestrator `process` do? It runs one attempt after the other.

    python -m trackyard.pipelines.orchestrators.worker DRIVER FILE

FILE is the number of an open socket: attempts come in, outcomes go out. It ends with its driver.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread

from trackyard.pipelines.parcels import run_packed
from trackyard.system.descriptors import is_ready


def main() -> None:
    """Serve until the driver closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver, file = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(file, False)
    Thread(target=_end_with, args=(driver,), daemon=True).start()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    connection = Connection(file)
    # The driver reads it from a pipe, and is to see it as it is printed.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # nobody replaced it yet
    try:
        while True:
            outcome = run_packed(connection.recv_bytes(), is_relayed=True)
            _flush()
            connection.send_bytes(outcome)
    except (EOFError, OSError):
        pass  # the driver has gone, or needs it no more: that is how it ends


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a step may have put anything in its place
            stream.flush()


def _end_with(driver: int) -> None:
    """End at once when the driver dies: nobody is left who would end this run."""
    try:
        watched = os.pidfd_open(driver)
    except (AttributeError, OSError):
        while os.getppid() == driver:
            time.sleep(0.5)
    else:
        if os.getppid() == driver:
            is_ready(watched)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
