"""Encoding raises where there is no memory for it, and ends no process."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT_MEMORY = """
import os, resource, sys
from trackyard.journal.encoding import LONGEST_KEY, encode_plain, encode_short

long = ("params", 1, None, {"text": "x" * 100_000})
short = ("metrics", 2**63 - 1, -1.2345678901234567e-300, {"\\x01" * LONGEST_KEY: 1.1e-300})
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used, resource.RLIM_INFINITY))
hog, ends = [], []
for size in (2**20, 2**16, 2**12, 1024, 512, 256, 128, 64, 48):
    try:
        while True:
            hog.append(bytes(size))
    except MemoryError:
        pass
try:
    encode_short(short) if sys.argv[1] == "short" else encode_plain(long)
except MemoryError:
    pass
os._exit(7)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not limit memory like that")
@pytest.mark.parametrize("what", ["long", "short"])
def test_what_finds_no_memory_raises_and_ends_no_process(what):
    command = [sys.executable, "-c", WITHOUT_MEMORY, what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7, done.stderr
