"""What does it cost to store a numpy array of 1 GB as a step's output, against writing the file?

The same array is written with `numpy.save` and stored in an artifact store in turns, each in a
process of its own that reports its time and the memory that it took beyond the array. Writing to
a disk varies: the medians are compared.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile

ROUNDS = 5
MOST_TIMES = 1.5
MOST_MEGABYTES = 100
MEGABYTES = 1000

MEASURED = """
import json, os, resource, sys, time
import numpy
from trackyard.outputs.artifact_store import ArtifactStore
kind, folder, megabytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
array = numpy.random.default_rng(0).random(megabytes * 125_000)
store = ArtifactStore(folder)
store.save("warm", numpy.ones(1))
os.sync()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
if kind == "numpy":
    numpy.save(f"{folder}/file.npy", array)
else:
    store.save("output", array)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds, (peak - before) / 1024]))
"""


def main() -> int:
    """Measure in turns and print the medians."""
    found: dict[str, list[list[float]]] = {"numpy": [], "store": []}
    for _ in range(ROUNDS):
        for kind, results in found.items():
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                command = [sys.executable, "-c", MEASURED, kind, folder, str(MEGABYTES)]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append(json.loads(out))
    seconds = {kind: statistics.median(r[0] for r in results) for kind, results in found.items()}
    memory = max(result[1] for result in found["store"])
    times = seconds["store"] / seconds["numpy"]
    print(f"numpy.save of {MEGABYTES} MB      {seconds['numpy']:6.2f} s")
    print(f"stored as an output       {seconds['store']:6.2f} s")
    print(f"times                     {times:6.2f}     at most {MOST_TIMES}")
    print(f"memory beyond the array   {memory:6.0f} MB  at most {MOST_MEGABYTES}")
    return 0 if times <= MOST_TIMES and memory <= MOST_MEGABYTES else 1


if __name__ == "__main__":
    raise SystemExit(main())
