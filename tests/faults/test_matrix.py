"""The table of faults and the tests agree, and nearly all of them are automated."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
_ROW = re.compile(r"^\| ([A-Z]\d+) \| .+ \| (.+) \|$", re.MULTILINE)
GROUPS = {
    "P": 25,
    "D": 13,
    "J": 9,
    "N": 21,
    "G": 10,
    "V": 11,
    "S": 9,
    "T": 16,
    "L": 13,
    "A": 9,
    "O": 6,
    "K": 8,
}


def rows() -> dict[str, str]:
    return dict(_ROW.findall((HERE / "README.md").read_text()))


def automated() -> dict[str, set[str]]:
    """Give the files that have tests of each fault."""
    found: dict[str, set[str]] = {}
    for path in HERE.glob("test_*.py"):
        for fault in re.findall(r"^def test_([a-z]\d+)_", path.read_text(), re.MULTILINE):
            found.setdefault(fault.upper(), set()).add(path.name)
    return found


def test_every_fault_is_in_the_table_once():
    names = _ROW.findall((HERE / "README.md").read_text())

    assert sorted(rows()) == sorted(
        f"{k}{n + 1}" for k, most in GROUPS.items() for n in range(most)
    )
    assert len(names) == len(rows())


def test_every_fault_has_the_test_that_the_table_names_or_a_reason():
    tests = automated()
    for fault, text in rows().items():
        if text.startswith("`"):
            assert text.strip("`") in tests.get(fault, ()), fault
        else:
            assert text.startswith("none: "), fault
            assert fault not in tests, f"{fault} has a test: name it in the table"


def test_at_least_134_are_automated():
    assert len(automated()) >= 84 + 50
