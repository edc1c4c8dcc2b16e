"""Is a flavor found, light to import, and does it keep to the public contract?"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import PluginError
from trackyard.hooks.discovery import FLAVORS, find_plugins, import_flavor
from trackyard.hooks.rules import check_hooks
from trackyard.testing.contract import check, expect
from trackyard.testing.requirements import is_packaged
from trackyard.testing.workbench import Workbench

# Milliseconds of CPU that the import of a flavor may cost over that of Trackyard.
IMPORT_BUDGET = 300.0

_PROBE = """
import json, os, sys, threading, time
import trackyard.hooks.dispatch, trackyard.project.trackers, trackyard.tracking.calls
from trackyard.hooks.discovery import FLAVORS, find_plugins, load_flavor
find_plugins(FLAVORS)
before, environment = set(sys.modules), dict(os.environ)
started = time.process_time()
load_flavor(sys.argv[1])
spent = time.process_time() - started
files = {n: getattr(sys.modules[n], "__file__", None) for n in set(sys.modules) - before}
print(json.dumps({
    "milliseconds": spent * 1000,
    "modules": {name: file for name, file in files.items() if file},
    "environment": sorted(set(os.environ.items()) ^ set(environment.items())),
    "threads": [thread.name for thread in threading.enumerate()][1:],
}))
"""


class PackagingChecks:
    """What a user's installation sees of a flavor."""

    @check("Found by entry point: group trackyard.flavors, name = flavor name, value = the class.")
    def test_flavor_is_found_by_its_entry_point(self, workbench: Workbench) -> None:
        if ":" in workbench.reference:
            expect(attrs.has(workbench.flavor), f"{workbench.reference} is no flavor class")
            return
        found = [info for info in find_plugins(FLAVORS) if info.name == workbench.reference]
        expect(len(found) == 1, f"{len(found)} entry points named {workbench.reference!r}")

    @check("The SDK is imported inside methods, never at module top.")
    def test_import_loads_no_sdk(self, workbench: Workbench) -> None:
        foreign = sorted({name.partition(".")[0] for name in _foreign(workbench)})
        expect(not foreign, f"importing {workbench.reference} imports {', '.join(foreign)}")

    @check("Light: an import of a flavor costs tens of milliseconds.")
    def test_import_is_quick(self, workbench: Workbench) -> None:
        spent = _probe(workbench)["milliseconds"]
        expect(spent < IMPORT_BUDGET, f"the import takes {spent:.0f} ms of CPU")

    @check("Nothing happens at import: no thread, no output, no change of the environment.")
    def test_import_does_nothing(self, workbench: Workbench) -> None:
        seen = _probe(workbench)
        expect(not seen["environment"], f"the import changes {seen['environment']}")
        expect(not seen["threads"], f"the import starts threads {seen['threads']}")
        expect(not seen["output"], f"the import prints {seen['output']!r}")

    @check(
        "The manager rejects an unmarked tracker_* method, an unknown hook name, keyword-only or "
        "async hookimpls, a wrong argument name."
    )
    def test_hooks_are_those_of_the_contract(self, workbench: Workbench) -> None:
        try:
            check_hooks(import_flavor(workbench.reference), workbench.reference)
        except PluginError as error:
            expect(False, str(error))

    @check("The methods marked @hookimpl are the tracker: it starts, logs, ends and fails a run.")
    def test_hooks_of_a_whole_life_are_there(self, workbench: Workbench) -> None:
        needed = ("tracker_start_run", "tracker_log", "tracker_end_run", "tracker_fail_run")
        missing = [hook for hook in needed if hook not in workbench.hooks]
        expect(not missing, f"the flavor has no {', '.join(missing)}")

    @check("The class docstring is its description.")
    def test_class_describes_itself(self, workbench: Workbench) -> None:
        text = (vars(workbench.flavor).get("__doc__") or "").strip()
        expect(bool(text), "the class has no docstring")
        first = text.splitlines()[0]
        expect(len(first) <= 100, f"its first line has {len(first)} characters")

    @check("A flavor imports public names of trackyard only.")
    def test_public_names_alone_are_imported(self, workbench: Workbench) -> None:
        private = [
            f"{file.name}: {module}"
            for file in _source_files(workbench)
            for module in _imports(file)
            if re.match(r"trackyard\.(?!(testing|contract)$)", module)
        ]
        expect(not private, f"imports of what may change at any time: {', '.join(private[:5])}")

    @check(
        "A distribution says what it is, and which releases of trackyard it was made for.",
        is_packaged,
    )
    def test_distribution_says_what_it_needs(self, workbench: Workbench) -> None:
        from importlib_metadata import distribution

        found = distribution(workbench.distribution)
        for field in ("Name", "Version", "Summary", "Requires-Python"):
            expect(bool(found.metadata[field]), f"its metadata has no {field}")
        needs = [line for line in found.requires or [] if "extra ==" not in line]
        ours = [line for line in needs if re.match(r"trackyard\b(?!-)", line)]
        expect(len(ours) == 1, f"it requires trackyard {len(ours)} times")
        expect("<" in ours[0], f"{ours[0]!r} has no upper bound, such as <0.2")

    @check("Typed packages ship a py.typed.", is_packaged)
    def test_types_are_shipped(self, workbench: Workbench) -> None:
        folder = _package_folder(workbench.flavor)
        expect((folder / "py.typed").is_file(), f"there is no {folder.name}/py.typed")


def _probe(workbench: Workbench) -> dict[str, Any]:
    """Import the flavor in a fresh interpreter and say what that did."""
    begun = _names_at_start()  # the import that was done here has set its own since
    environment = {k: v for k, v in os.environ.items() if k in begun and not _measures(k)}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, workbench.reference],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    expect(done.returncode == 0, f"the import fails: {done.stderr.strip()[-500:]}")
    output, _, last = done.stdout.rstrip().rpartition("\n")
    seen: dict[str, Any] = json.loads(last)
    return {**seen, "output": output + done.stderr}


def _names_at_start() -> set[str]:
    """Give the names of the variables that this process began with, where the system tells them."""
    try:
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return set(os.environ)
    return {os.fsdecode(pair.partition(b"=")[0]) for pair in pairs}


def _measures(variable: str) -> bool:
    return variable.startswith("COVERAGE_PROCESS_")


def _foreign(workbench: Workbench) -> Iterator[str]:
    """Name the modules of other distributions that the import brought, but for attrs's own."""
    own = workbench.flavor.__module__.partition(".")[0]
    light = {own, "trackyard", "attr", "attrs", "cattr", "cattrs", "msgspec", "pluggy"}
    for name, file in _probe(workbench)["modules"].items():
        is_installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
        if is_installed and name.partition(".")[0] not in light:
            yield name


def _package_folder(flavor: type) -> Path:
    module = sys.modules[flavor.__module__.partition(".")[0]]
    return Path(str(module.__file__)).parent


def _source_files(workbench: Workbench) -> list[Path]:
    """Give the files of the flavor's package; of a dotted path, its module alone."""
    module = sys.modules[workbench.flavor.__module__]
    if workbench.distribution and "." in workbench.flavor.__module__:
        return sorted(_package_folder(workbench.flavor).rglob("*.py"))
    return [Path(str(module.__file__))]


def _imports(file: Path) -> Iterator[str]:
    """Name the modules that a file imports anywhere, also within functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
