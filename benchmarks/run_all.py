"""What does each promise cost, and where is a peer cheaper? All benchmarks, one after the other.

    uv run benchmarks/run_all.py [--quick] [NAME...]

Each benchmark runs in a process of its own, below one that sums the CPU of all that it starts. What
they print becomes `docs/measured.md`, with the date and the machine. `--quick` takes smaller
sizes where a benchmark has them; names choose some of them. What is not run is said to be so. Exit
code 1 says that a benchmark missed a bar.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import attrs
from shared.processes import cost_of

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "measured.md"
QUICK = {
    "growth": ["10", "1000"],
    "import": ["10000"],
    "killed_workers": ["--steps", "40"],
    "log_call": ["--quick"],
    "long_delivery": ["20000"],
    "media": ["1000"],
    "team_load": ["--minutes", "1"],
}
CHEAPER = "cheaper: "
# What SDKs and servers say: by level, by date; and the lines by which Trackyard names its runs.
NOISE = re.compile(r"INFO|WARNING|COMET|\d{4}[/-]\d\d[/-]\d\d\b|run |.* INFO ")
MOST_LINES = 60


@attrs.frozen
class Result:
    """What one benchmark came to.

    Attributes:
        name: The benchmark.
        question: What it asks, as its first line says.
        arguments: What it was given.
        output: What it printed; None where it was not run.
        is_kept: It kept its bars.
        cpu, wall: Seconds of CPU of all its processes, and of waiting.
    """

    name: str
    question: str
    arguments: tuple[str, ...] = ()
    output: str | None = None
    is_kept: bool = False
    cpu: float = 0.0
    wall: float = 0.0

    @property
    def outcome(self) -> str:
        """What the table says."""
        if self.output is None:
            return "not run"
        return "kept" if self.is_kept else "missed"


def benchmarks() -> dict[str, Path]:
    """Give all benchmarks but this one."""
    return {path.stem: path for path in sorted(HERE.glob("*.py")) if path.stem != "run_all"}


def question_of(path: Path) -> str:
    """Give the first line of a benchmark's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


def run(name: str, path: Path, *, quick: bool) -> Result:
    """Run one benchmark; what it prints goes to the terminal, too."""
    arguments = QUICK.get(name, []) if quick else []
    begun = time.monotonic()
    print(f"== {name} {' '.join(arguments)}", flush=True)
    environment = {**os.environ, "TRACKYARD_PROGRESS": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    try:
        cost = cost_of([sys.executable, str(path), *arguments], env=environment)
        output, cpu, is_kept = cost.output, cost.cpu, True
    except subprocess.CalledProcessError as error:
        output, cpu, is_kept = str(error.output), 0.0, False
    print(output, flush=True)
    wall = time.monotonic() - begun
    return Result(name, question_of(path), tuple(arguments), output, is_kept, cpu, wall)


def machine(*, quick: bool) -> str:
    """Say on what, and when, all this was measured."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(": ")[2] for line in lines if "model name" in line), cpu)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = os.getloadavg()[1]
    parts = [
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"load {load:.1f} in the five minutes before",
    ]
    if load > 0.5:
        parts.append("which was busy with other things: figures are too high, and ratios rough")
    if quick:
        parts.append("small sizes")
    return "; ".join(parts)


def page(results: list[Result], where: str) -> str:
    """Give the page."""
    lines = [
        "# What it costs",
        "",
        "Written by `uv run benchmarks/run_all.py`; do not edit.",
        "CPU counts all processes that a benchmark starts, workers and watchdogs included.",
        "",
        f"Measured: {where}.",
        "",
        "| benchmark | question | bars | CPU | minutes |",
        "|---|---|---|---|---|",
    ]
    for one in results:
        figures = f"{one.cpu:.0f} s" if one.cpu else "", f"{one.wall / 60:.1f}" if one.wall else ""
        name = f"`benchmarks/{one.name}.py`"
        row = [name, one.question.replace("|", "\\|"), one.outcome, *figures]
        lines.append(f"| {' | '.join(row)} |")
    cheaper = [
        f"* `{one.name}`: {line.removeprefix(CHEAPER)}"
        for one in results
        for line in (one.output or "").splitlines()
        if line.startswith(CHEAPER)
    ]
    lines += ["", "## Where a peer is cheaper", ""]
    lines += cheaper or ["In nothing that was measured here."]
    for one in results:
        if one.output is not None:
            called = " ".join(["uv run", f"benchmarks/{one.name}.py", *one.arguments])
            lines += ["", f"## {one.name}", "", f"{one.question}", "", f"`{called}`", ""]
            lines += ["```text", *shown(one.output), "```"]
    return "\n".join(lines) + "\n"


def shown(output: str) -> list[str]:
    """Give what a benchmark printed, without what SDKs and servers say meanwhile."""
    lines = [line.rstrip().replace(str(HERE.parent), ".") for line in output.splitlines()]
    kept = [line for line in lines if not NOISE.match(line)]
    left_out = len(kept) - MOST_LINES
    return [f"({left_out} lines before)", *kept[-MOST_LINES:]] if left_out > 0 else kept


def main() -> int:
    """Run what is asked for, write the page, and give 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *benchmarks()], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="take smaller sizes")
    asked = parser.parse_args()
    where = machine(quick=asked.quick)
    results = [
        run(name, path, quick=asked.quick)
        if not asked.names or name in asked.names
        else Result(name, question_of(path))
        for name, path in benchmarks().items()
    ]
    PAGE.write_text(page(results, where), encoding="utf-8")
    return int(any(one.outcome == "missed" for one in results))


if __name__ == "__main__":
    sys.exit(main())
