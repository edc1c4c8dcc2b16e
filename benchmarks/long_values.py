"""What do long texts, large dicts, many tags and folders cost, beside writing them plainly?

    uv run benchmarks/long_values.py

Each is logged into a journal without a tracker, and written plainly, in turns; shown is the least
CPU time of the process over the rounds, in milliseconds. What is written plainly is searched for
secrets all the same, by the same `Redactor`: texts by `redact`, dicts and tags as their JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 2
MOST = 3.0


def cpu_of(call: Callable[[], object]) -> float:
    """Give the milliseconds of CPU that a call takes."""
    begun = time.process_time_ns()
    call()
    return (time.process_time_ns() - begun) / 1e6


def cases(folder: Path) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Give by name what logs a value, and what writes it plainly."""
    import trackyard
    from trackyard.redaction.redactor import Redactor

    chosen, redactor = random.Random(1), Redactor()
    words = ["".join(chosen.choices("abcdefghij", k=7)) for _ in range(5000)]
    lines = [f"12:00:00 INFO epoch={n} loss={n / 7:.4f} tokens/s={n}" for n in range(280_000)]
    text = "\n".join(lines)
    rows = {
        f"run{n}": {"name": chosen.choice(words), "loss": chosen.random(), "tags": words[n % 9 : 9]}
        for n in range(75_000)
    }
    gaps = {name: {**row, "loss": float("nan")} for name, row in rows.items()}
    tags = {f"tag{n}": f"value {n}" for n in range(300_000)}
    many = folder / "many"
    many.mkdir()
    for number in range(1000):
        (many / f"{number}.txt").write_text(f"content {number}")

    def plainly(value: object) -> None:
        (folder / "plain.json").write_text(redactor.redact_json(json.dumps(value)))

    def copied() -> None:
        shutil.copytree(many, folder / "copy")
        shutil.rmtree(folder / "copy")

    return {
        f"log_text, {len(text) >> 20} MB": (
            lambda: trackyard.log_text(text, "a.txt"),
            lambda: (folder / "plain.txt").write_text(redactor.redact(text)),
        ),
        "log_dict, 75,000 rows": (
            lambda: trackyard.log_dict(rows, "a.json"),
            lambda: plainly(rows),
        ),
        "log_dict, with NaN": (lambda: trackyard.log_dict(gaps, "b.json"), lambda: plainly(gaps)),
        "set_tags, 300,000": (lambda: trackyard.set_tags(tags), lambda: plainly(tags)),
        "log_artifact, 1,000 files": (lambda: trackyard.log_artifact(many, "many"), copied),
    }


def main() -> int:
    """Measure all, print a table, and give 1 where one costs more than it may."""
    import trackyard

    is_right = True
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.chdir(name)
        Path("trackyard.toml").touch()
        print(f"{'':28}{'logged':>10}{'plainly':>10}{'times':>8}")
        with trackyard.start_run("long", experiment_tracker=None):
            for case, (log, write) in cases(Path(name)).items():
                pairs = [(cpu_of(log), cpu_of(write)) for _ in range(ROUNDS)]
                ours, plain = (min(times) for times in zip(*pairs, strict=True))
                is_right = is_right and ours <= MOST * plain
                print(f"{case:28}{ours:10.0f}{plain:10.0f}{ours / plain:8.1f}")
        os.chdir("/")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
