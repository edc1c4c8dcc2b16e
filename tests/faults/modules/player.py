"""A program that does what it is told: it starts runs, logs, forks, ends and dies.

It reads a line of JSON for each thing to do, and answers with one. A run is a child of it, which
takes over its input and output until it ends or dies; all is imported once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any


def read() -> Any:
    """Read a line byte by byte: what follows is for the process that takes over."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(0)
        line += byte
    return json.loads(line)


def answer(**values: Any) -> None:
    os.write(1, json.dumps(values).encode() + b"\n")


def play(name: str, trackers: list[str]) -> None:
    """Track one run until it is told to end."""
    from trackyard import start_run

    with start_run(name, experiment_tracker=trackers) as run:
        answer(id=run.id)
        while (told := read())["do"] != "end":
            match told:
                case {"do": "die"}:
                    os.kill(os.getpid(), signal.SIGKILL)
                case {"do": "fork", "call": call, "arguments": arguments}:
                    child = os.fork()
                    if child == 0:
                        getattr(run, call)(*arguments)
                        os._exit(0)
                    assert os.waitpid(child, 0)[1] == 0
                case {"do": "log_long", "arguments": [key, value, times]}:
                    run.log_param(key, value * times)
                case {"do": call, "arguments": arguments}:
                    getattr(run, call)(*arguments)
            answer()


def main() -> None:
    import ledger  # noqa: F401 - before the first fork

    import trackyard.tracking.blocks
    import trackyard.tracking.lifecycle  # noqa: F401

    answer()
    while True:
        told = read()
        os.chdir(told["project"])
        child = os.fork()
        if child == 0:
            try:
                play(told["name"], told["trackers"])
                os._exit(0)
            finally:
                sys.stderr.flush()
                os._exit(1)
        answer(status=os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
