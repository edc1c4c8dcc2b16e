"""What does a process of the orchestrator `process` do? It runs one attempt after the other.

    python -m trackyard.pipelines.orchestrators.worker DRIVER FILE

FILE is the number of an open socket: attempts come in, outcomes go out. It ends with its driver.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from types import FrameType

from trackyard.pipelines.parcels import run_packed
from trackyard.system.interruption import Terminated


def main() -> None:
    """Serve until the driver closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    driver, file = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(file, False)
    Thread(target=_end_with, args=(driver,), daemon=True).start()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    connection, folder = Connection(file), Path.cwd()
    try:
        sys.path[:] = os.fsdecode(connection.recv_bytes()).split(os.pathsep)
        while True:
            connection.send_bytes(run_packed(connection.recv_bytes()))
            with suppress(OSError):  # it may be gone
                os.chdir(folder)  # wherever the step went
    except (EOFError, OSError, Terminated):
        pass  # the driver has gone, or has told it to stop: that is how it ends


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _end_with(driver: int) -> None:
    """End at once when the driver dies: nobody is left who would end this run."""
    try:
        watched = os.pidfd_open(driver)
    except (AttributeError, OSError):
        while os.getppid() == driver:
            time.sleep(0.5)
    else:
        if os.getppid() == driver:
            select.select([watched], [], [])
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
