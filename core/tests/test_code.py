"""Does the code keep the house rules?"""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

import trackyard
from trackyard import contract

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("core/src/trackyard/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")])
# What readers meet first, and what draws and measures: it is held to the same size.
BESIDE = sorted(
    path
    for room in ("docs", "examples", "benchmarks")
    for path in (ROOT / room).rglob("*.py")
    if "tests" not in path.parts
)
TEXTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*SOURCES, *BESIDE]
}
CORE = "core/src/trackyard/"


@cache
def trees() -> dict[str, ast.Module]:
    """Parse all files: in the process that runs these tests, not in each that collects them."""
    return {name: ast.parse(text) for name, text in TEXTS.items()}


def test_there_are_files_to_check():
    assert len(SOURCES) > 200
    assert len(trees()) > len(SOURCES) > len([name for name in trees() if name.startswith(CORE)])


def test_files_have_at_most_600_lines():
    lengths = {name: len(text.splitlines()) for name, text in TEXTS.items()}

    assert {name: length for name, length in lengths.items() if length > 600} == {}


def test_files_say_first_which_question_they_answer():
    assert [name for name, tree in trees().items() if not ast.get_docstring(tree)] == []


def test_core_has_at_most_22_names_at_its_top():
    """A newcomer meets all of them at once: what is new belongs into a room."""
    names = {path.name for path in (ROOT / CORE).iterdir()} - {"__pycache__"}

    assert len(names) <= 22, sorted(names)


def test_functions_have_at_most_60_lines():
    lengths = {
        f"{name}, line {node.lineno}: {node.name}": node.end_lineno - node.lineno + 1
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {where: length for where, length in lengths.items() if length > 60} == {}


def test_class_of_a_flavor_has_at_most_200_lines():
    """What reads a backend's own files back, or speaks with its server, stands beside it."""
    lengths = {
        f"{name}: {node.name}": node.end_lineno - node.lineno + 1
        for name, tree in trees().items()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(mark, ast.Name) and mark.id == "flavor" for mark in node.decorator_list)
    }

    assert len(lengths) >= 6
    assert {name: length for name, length in lengths.items() if length > 200} == {}


OF_FLAVORS = re.compile(
    r"mlflow|wandb|weights & biases|comet|neptune|trackio\b|tensorboard|databricks"
    r"|\b(HF|HUGGING\w*)_[A-Z]",
    re.IGNORECASE,
)
# Which lines may name them: the shapes of secrets, and the constant of the default flavor.
EXCEPT = {
    f"{CORE}redaction/secret_shapes.py": "",
    f"{CORE}project/trackers.py": 'DEFAULT_FLAVOR = "mlflow"',
}


def test_core_names_no_flavor_and_no_variable_of_an_sdk():
    """What is known of those that are not installed stands in `hooks/known.toml`."""
    named = [
        f"{name}: {line}"
        for name, text in TEXTS.items()
        if name.startswith(CORE)
        for line in text.splitlines()
        if OF_FLAVORS.search(line) and EXCEPT.get(name) not in ("", line)
    ]

    assert named == []


PACKAGES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("plugins/*/src"))


@pytest.mark.parametrize("folder", ["core/src", *PACKAGES])
def test_docstring_names_each_of_two_arguments_or_more(folder):
    unnamed = {
        f"{name}: {function_name}": sorted(_arguments(function) - _named(function))
        for name, tree in trees().items()
        if name.startswith(folder)
        for function_name, function in _public_functions(tree)
        if len(_arguments(function)) > 1
    }

    assert {name: arguments for name, arguments in unnamed.items() if arguments} == {}


# What these make is specified elsewhere: by a hookspec, a command's help, a tool's schema.
ELSEWHERE = re.compile(r"answering|telling|hookimpl|hook_impl|overload|(\w+\.)?command|click\.\w+")


def _public_functions(module):
    """Give the functions and methods that say themselves what they take."""
    specified: set[str] = set()
    for node in module.body:
        is_class = isinstance(node, ast.ClassDef)
        if is_class and node.name.endswith("Materializer"):
            specified.add("save")  # the contract's `Materializer` says it
        bases = [ast.unparse(base) for base in node.bases] if is_class else []
        is_others = node.name.startswith("_") if hasattr(node, "name") else True
        if is_others or any(base.startswith("click.") for base in bases):
            continue
        for function in node.body if is_class else [node]:
            if not isinstance(function, ast.FunctionDef) or function.name in specified:
                continue
            marks = [ast.unparse(mark).partition("(")[0] for mark in function.decorator_list]
            if not function.name.startswith(("_", "test_")) and not any(
                ELSEWHERE.fullmatch(mark) for mark in marks
            ):
                yield f"{node.name}.{function.name}" if is_class else node.name, function
            if "Protocol" in bases:  # who has the same method need not say it again
                specified.add(function.name)


def _arguments(function):
    given = function.args
    several = [argument for argument in (given.vararg, given.kwarg) if argument]
    names = [a.arg for a in [*given.posonlyargs, *given.args, *given.kwonlyargs, *several]]
    return {name for name in names if name not in ("self", "cls") and not name.startswith("_")}


def _named(function):
    """Give the arguments that a docstring's section `Args:` names."""
    docstring = ast.get_docstring(function) or ""
    section = re.search(r"^Args:\n((?: .*\n?|\n)+)", docstring, re.MULTILINE)
    lines = re.findall(r"^ {4}([\w*, ]+):", section[1], re.MULTILINE) if section else []
    return {name.strip(" *") for line in lines for name in line.split(",")}


@pytest.mark.parametrize("name", trackyard.__all__)
def test_name_for_users_resolves_and_has_a_docstring(name):
    assert inspect.getdoc(getattr(trackyard, name))


@pytest.mark.parametrize("name", contract.__all__)
def test_name_for_authors_resolves_and_has_a_docstring(name):
    assert inspect.getdoc(getattr(contract, name))


def test_names_that_stand_in_both_doors_are_what_users_write_plugins_with():
    both = set(trackyard.__all__) & set(contract.__all__)
    errors = {name for name in both if name.endswith("Error")}

    assert both - errors == {"flavor", "hookimpl", "home", "secret"}


@pytest.mark.parametrize(
    "name",
    [
        "after_import",
        "is_out_of_reach",
        "is_true_within",
        "process_values",
        "Artifact",
        "Batch",
        "Capabilities",
        "Failure",
        "KEEP",
        "Metric",
        "Param",
        "Record",
        "RejectedRecords",
        "RetryLater",
        "Run",
        "Secret",
        "Tag",
    ],
)
def test_what_authors_imported_from_trackyard_still_works_and_is_not_shown_to_users(name):
    assert getattr(trackyard, name) is getattr(contract, name)
    assert name not in trackyard.__all__


@pytest.mark.parametrize("door", [trackyard, contract])
def test_type_checker_sees_the_names(door, tmp_path):
    """Nothing but mypy knows what mypy sees of a stub, in a program whose rules are strict."""
    import mypy.api  # no other test wants it

    lines = [f"from {door.__name__} import {name}\nreveal_type({name})" for name in door.__all__]
    program = tmp_path / "program.py"
    program.write_text("\n".join(lines))
    out, _, status = mypy.api.run(
        ["--strict", "--cache-dir", str(ROOT / ".mypy_cache"), str(program)]
    )
    revealed = re.findall(r'Revealed type is "(.*)"', out)

    assert (status, len(revealed)) == (0, len(door.__all__)), out
    # What pluggy declares has a type of its own; nothing else may be of any type.
    assert [name for name, seen in zip(door.__all__, revealed, strict=True) if seen == "Any"] == []


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'log_metrik'"):
        trackyard.log_metrik


def test_names_for_users_are_completed_and_those_for_authors_are_not():
    assert trackyard.Batch
    assert set(trackyard.__all__) <= set(dir(trackyard))
    assert not {"Batch", "Capabilities", "after_import"} & set(dir(trackyard))


def test_a_star_imports_the_names_for_users():
    names = {}
    exec("from trackyard import *", names)

    assert set(trackyard.__all__) == names.keys() - {"__builtins__"}
