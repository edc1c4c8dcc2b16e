"""Does every flavor of this repository run the suite, with next to nothing left out?"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST = 2  # expected failures of a suite


def flavors():
    for path in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        groups = tomllib.loads(path.read_text(encoding="utf-8"))["project"].get("entry-points", {})
        if "trackyard.flavors" in groups:
            yield path.parent


def suites_of(member):
    for path in member.glob("tests/test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "FlavorSuite" in map(ast.unparse, node.bases):
                yield node


def expected_failures(suite):
    for node in suite.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        target = node.targets[0] if isinstance(node, ast.Assign) else target
        if target is not None and ast.unparse(target) == "expected_failures":
            return ast.literal_eval(node.value)
    return {}


@pytest.mark.parametrize("member", list(flavors()), ids=lambda member: member.name)
def test_flavor_runs_the_suite_with_two_expected_failures_at_most(member):
    suites = list(suites_of(member))

    assert suites, f"write {member.name}/tests/test_conformance.py"
    for suite in suites:
        assert len(expected_failures(suite)) <= MOST, suite.name
