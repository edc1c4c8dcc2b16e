"""Does the code keep the house rules?"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import trackyard

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("core/src/trackyard/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")])


def test_there_are_files_to_check():
    assert len(FILES) > 30


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_file_has_at_most_600_lines_and_a_question(file):
    text = file.read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 600
    assert ast.get_docstring(ast.parse(text))


def test_core_has_at_most_22_names_at_its_top():
    """A newcomer meets all of them at once: what is new belongs into a room."""
    names = {path.name for path in (ROOT / "core/src/trackyard").iterdir()} - {"__pycache__"}

    assert len(names) <= 22, sorted(names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_functions_have_at_most_60_lines(file):
    functions = [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {f"{f.name}, line {f.lineno}": f.end_lineno - f.lineno + 1 for f in functions}

    assert {name: length for name, length in lengths.items() if length > 60} == {}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_class_of_a_flavor_has_at_most_150_lines(file):
    """What reads a backend's own files back, or speaks with its server, stands beside it."""
    lengths = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(mark, ast.Name) and mark.id == "flavor" for mark in node.decorator_list)
    }

    assert {name: length for name, length in lengths.items() if length > 150} == {}


@pytest.mark.parametrize("name", trackyard.__all__)
def test_public_name_resolves_and_has_a_docstring(name):
    value = getattr(trackyard, name)

    assert inspect.getdoc(value)


def test_public_names_are_those_that_the_type_checker_sees():
    tree = ast.parse(Path(trackyard.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.name for node in block.body for alias in node.names]

    assert sorted(seen) == sorted(trackyard.__all__)
    assert sorted(n for names in trackyard._HOMES.values() for n in names) == sorted(seen)


def test_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'log_metrik'"):
        trackyard.log_metrik


def test_public_names_are_completed():
    assert set(trackyard.__all__) <= set(dir(trackyard))
