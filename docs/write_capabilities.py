"""Write what each flavor holds into plugins/README.md, as its class declares it.

Run it with `uv run docs/write_capabilities.py` after a change; a test says when that is due.
"""

import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import get_args

from trackyard.contract.records import ArtifactKind, Capabilities

PLUGINS = Path(__file__).parents[1] / "plugins"
PAGE = PLUGINS / "README.md"
TABLE = re.compile(r"(<!-- capabilities; .*? -->\n).*?(<!-- end of capabilities -->)", re.DOTALL)
KINDS = get_args(ArtifactKind)


def flavors() -> dict[str, type]:
    """Give the flavors of this repository by name, as their distributions declare them."""
    found = {}
    for path in sorted(PLUGINS.glob("*/pyproject.toml")):
        sys.path.append(
            str(path.parent / "src")
        )  # not all are installed, and no class needs its SDK
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        for name, place in project.get("entry-points", {}).get("trackyard.flavors", {}).items():
            module, _, attribute = place.partition(":")
            found[name] = getattr(import_module(module), attribute)
    return found


def table() -> str:
    """Describe each flavor in a column, by rows that a user asks for."""
    found = flavors()
    known = {
        name: getattr(flavor, "capabilities", Capabilities()) for name, flavor in found.items()
    }
    lines = [f"| | {' | '.join(f'`{name}`' for name in known)} |", "|---" * (len(known) + 1) + "|"]
    for what, cell in ROWS.items():
        lines.append(f"| {what} | {' | '.join(cell(each) for each in known.values())} |")
    are_sources = (hasattr(flavor, "tracker_list_runs") for flavor in found.values())
    lines.append(f"| import | {' | '.join('yes' if each else 'no' for each in are_sources)} |")
    return "\n".join(lines) + "\n"


def kind(wanted: str):
    def cell(found: Capabilities) -> str:
        if wanted in found.kinds:
            return "yes"
        return "as image" if wanted == "figure" and "image" in found.kinds else "as file"

    return cell


def length(name: str, longer: str):
    def cell(found: Capabilities) -> str:
        limit = getattr(found, name)
        return "any" if limit is None else f"{limit:,}; {longer}"

    return cell


STEPS = {
    "any": "any",
    "integer": "whole; others are rounded",
    "float": "floats",
    "increasing": "increasing; others are sent without",
}
RESOLUTIONS = {
    1: "nanoseconds",
    1_000: "microseconds",
    1_000_000: "milliseconds",
    None: "those of the arrival",
}
CHILD_RUNS = {
    "nested": "below its parent",
    "grouped": "in its parent's group",
    "tagged": "a tag names its parent",
}
ROWS = {
    **{f"artifact: {name}": kind(name) for name in KINDS},
    "characters of a key": length("key_length", "longer ones get a digest"),
    "keys": lambda found: (
        "any" if found.key_pattern == Capabilities().key_pattern else "some are escaped, reversibly"
    ),
    "names of artifacts": lambda found: (
        "any"
        if found.artifact_pattern == Capabilities().artifact_pattern
        else "some are escaped, reversibly"
    ),
    "characters of a param": length("param_length", "longer ones as file, too"),
    "characters of a tag": length("tag_length", "longer ones as file, too"),
    "steps": lambda found: STEPS[found.step_rule],
    "least step": lambda found: "any" if found.least_step is None else str(found.least_step),
    "points without a step": lambda found: "are numbered" if found.needs_step else "yes",
    "points of a key at one step": lambda found: (
        "any" if found.points_per_step == "many" else "one; others go to the next free step"
    ),
    "bits of a number": lambda found: str(found.number_bits),
    "times": lambda found: RESOLUTIONS[found.time_resolution],
    "bytes of a request": length("largest_request", "longer texts as file, too"),
    "NaN and infinities": lambda found: "yes" if found.not_a_number == "keep" else "left out",
    "failed runs are shown by": lambda found: (
        "status and tag" if found.shows_failure_as == "status" else "tag"
    ),
    "pipeline run as parent": lambda found: "yes" if found.nests else "group tag",
    "child run": lambda found: CHILD_RUNS[found.child_runs],
    "several runs at once": lambda found: "yes" if found.concurrent_runs else "one after another",
    "worker process": lambda found: "yes" if found.shared_runs else "thread of the step's process",
    "after a lost answer": lambda found: (
        "the run is sent again from its first record"
        if found.idempotence == "rebuild"
        else "the batch is sent again, and is there once"
    ),
}


def written(page: str) -> str:
    """Give the page with its table as it is now."""
    return TABLE.sub(lambda found: f"{found[1]}\n{table()}\n{found[2]}", page)


def main() -> None:
    before = PAGE.read_text(encoding="utf-8")
    after = written(before)
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
        sys.stdout.write(f"{PAGE} has changed\n")


if __name__ == "__main__":
    main()
