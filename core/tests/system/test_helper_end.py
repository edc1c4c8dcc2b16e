"""Does a helper end in time where an SDK has left something that never ends?"""

from __future__ import annotations

import subprocess
import sys

import pytest

LEFT = {
    "a thread": "threading.Thread(target=threading.Event().wait).start()",
    "an exit handler": "atexit.register(threading.Event().wait)",
}


@pytest.mark.parametrize("what", LEFT)
def test_helper_ends_whatever_was_left_in_it(what):
    code = f"import atexit, threading\n{LEFT[what]}\n"
    code += "from trackyard.system.helper_end import end_soon\nend_soon(0.1)"
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)

    assert ended.returncode == 1
