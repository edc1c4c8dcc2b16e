"""What is logged that real programs log, and that flavors get wrong?"""

from __future__ import annotations

import math

from trackyard.contract.records import Metric
from trackyard.journal.entries import Entry
from trackyard.testing.workbench import append
from trackyard.tracking.calls import ActiveRun

# Texts that look like something else, and values that are taken for one another.
ODD_PARAMS: dict[str, object] = {
    "text of digits": "007",
    "text of a number": "1e5",
    "text with a fraction": "2024.0",
    "text of nothing": "None",
    "text of truth": "true",
    "text of no number": "nan",
    "text of JSON": '{"a": [1]}',
    "text of a date": "2026-01-02",
    "white space": "  two  blanks\t",
    "blank": " ",
    "empty": "",
    "line ends": "one\r\ntwo\n",
    "quotes": 'it\'s "so" \\ far',
    "long int": 12_345_678_901_234_567_890,
    "beyond floats": 2**53 + 1,
    "below": -(2**63),
    "one": 1,
    "true": True,
    "zero": 0,
    "false": False,
    "whole": 3.0,
    "digits": 0.1 + 0.2,
    "no number": math.nan,
    "small": 1e-7,
    "large": 1e22,
}
NUMBERS = {
    "denormal": 5e-324,
    "largest": 1.7e308,
    "minus zero": -0.0,
    "digits": 0.1 + 0.2,
    "a third": 1 / 3,
    "whole": float(2**53 - 1),
}
STEPS = (-3, 0, 2**31, 2**53 + 1, 7)
MOMENT = 1_700_000_000_123_456_789


def irregular_points() -> list[Metric]:
    """Give points of a few keys, as loops and callbacks log them: no step, twice, backwards."""
    points = [Metric("no step", n / 4, None, MOMENT + n * 10**9) for n in range(3)]
    points += [Metric("one step", n / 3, 5, MOMENT + n * 10**9) for n in range(2)]
    points += [Metric("back", float(n), step, MOMENT + n * 10**9) for n, step in enumerate(STEPS)]
    # Within one microsecond, which floats of seconds cannot tell apart.
    points += [Metric("moment", float(n), 1, MOMENT + n) for n in range(3)]
    points += [Metric("same", 1.0, 1, MOMENT), Metric("same", 1.0, 1, MOMENT + 10**10)]
    return points


def log_points(run: ActiveRun) -> None:
    """Log irregular points, each with its own time."""
    for point in irregular_points():
        append(run, Entry("metrics", point.timestamp, point.step, {point.key: point.value}))


def log_irregularly(run: ActiveRun) -> None:
    """Log some of each kind, as a program does that nobody has tidied up."""
    run.log_params({"rate": 0.1, "name": "base", "version": "007", "on": True})
    for step in range(10):
        run.log_metrics({"loss": 1 / (step + 1), "train/accuracy": step / 30}, step=step)
    log_points(run)
    run.set_tags({"stage": "dev", "padded": " x "})
    run.set_tag("stage", "prod")
    run.log_text("the first report", "notes/report.txt")
    run.log_text("the same\r\n", "notes/one.txt")
    run.log_text("the same\r\n", "other/two.txt")
    run.log_text("the report", "notes/report.txt")
