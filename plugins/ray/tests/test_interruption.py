"""Does a step hear at once that it is cancelled?"""

from __future__ import annotations

import subprocess
import sys

SLEEPS = """
import _thread, signal, threading, time
from trackyard_ray.interruption import woken_by_cancel

before = signal.getsignal(signal.SIGURG)
threading.Timer(0.3, _thread.interrupt_main).start()  # as Ray does
try:
    with woken_by_cancel():
        time.sleep(600)
except KeyboardInterrupt:
    print("interrupted")
assert signal.getsignal(signal.SIGURG) == before
assert signal.set_wakeup_fd(-1) == -1
assert threading.active_count() == 1
"""


def test_what_sleeps_is_interrupted_and_nothing_of_it_stays():
    command = [sys.executable, "-c", SLEEPS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    assert done.stdout == "interrupted\n"
