"""Does the page of costs say the bars that the benchmarks keep?"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = {path.name: path for path in (ROOT / "benchmarks").glob("*.py")}
PAGE = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
# The names of each benchmark's bars, whose values its rows show; those of others stand in tables.
BARS = {
    "log_call.py": ["MOST_CPU", "MOST_SHARE", "MOST_PER_METRIC", "MOST_BUSY", "MOST_BEHIND"],
    "native_calls.py": ["CAPTURED", "UNCAPTURED"],
    "hanging_tracker.py": ["MOST_CPU"],
    "delivery.py": ["MOST", "LEAST"],
    "step_cost.py": ["MOST_MS", "MOST_SCRIPT", "MOST_CPU", "MOST_WALL", "MOST_COLD"],
    "context_and_console.py": ["MOST_CONTEXT", "MOST_CONSOLE", "MOST_SYSTEM"],
    "large_output.py": ["MOST_TIMES", "MOST_MEGABYTES"],
    "parquet_tables.py": ["MOST"],
    "media.py": ["MOST_OF_IMAGE", "MOST_OF_TABLE", "MOST_OF_FOLDER"],
    "long_values.py": ["MOST"],
    "ray_overhead.py": ["MOST"],
    "growth.py": ["MOST"],
    "import.py": ["MOST_MEMORY"],
}


def rows_of(benchmark):
    """Give the page's rows for a benchmark, with those that say "the same" below it."""
    found = re.search(rf"^\|.*/{benchmark}\) \|\n(\|.*\| the same \|\n)*", PAGE, re.MULTILINE)
    return found[0] if found else ""


def constants_of(path):
    """Give the numbers that a module gives names to, also several at once."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = (
                zip(target.elts, value.elts, strict=True)
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
                else [(target, value)]
            )
            for name, number in pairs:
                if isinstance(number, ast.Constant) and isinstance(name, ast.Name):
                    found[name.id] = number.value
    return found


@pytest.mark.parametrize("benchmark", BARS)
def test_page_says_each_bar_as_the_benchmark_keeps_it(benchmark):
    constants = constants_of(BENCHMARKS[benchmark])
    rows = rows_of(benchmark)
    shown = set(map(float, re.findall(r"(?<![\w.,])\d+(?:\.\d+)?(?![\d,]*\d)", rows)))

    assert rows
    for name in BARS[benchmark]:
        assert float(constants[name]) in shown, f"{name} = {constants[name]}"


def test_page_names_every_benchmark():
    assert [name for name in BENCHMARKS if f"(../benchmarks/{name})" not in PAGE] == []


def test_page_of_measures_has_what_benchmarks_print_and_nothing_that_sdks_say():
    printed = ["2031/05/06 07:08:09 INFO mlflow: made", "WARNING: late", "2031 runs", "Traceback:"]
    code = "import json, sys, run_all; print(json.dumps(run_all.shown(sys.argv[1])))"

    def shown(lines):
        command = [sys.executable, "-c", code, "\n".join(lines)]
        return json.loads(subprocess.check_output(command, cwd=ROOT / "benchmarks"))

    assert shown(printed) == ["2031 runs", "Traceback:"]
    assert shown(map(str, range(62)))[:2] == ["(2 lines before)", "2"]
