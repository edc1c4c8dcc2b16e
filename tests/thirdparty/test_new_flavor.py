"""Does the package that `flavor new` writes pass all that its own CI asks, as it is?"""

from __future__ import annotations

import re
import tomllib

import pytest
from matrices import first_by_default


@pytest.fixture(scope="module", params=first_by_default(["my-board", "my-files"]))
def package(request, environment, tmp_path_factory):
    """One that talks to a server, and one that keeps files."""
    name, folder = request.param, tmp_path_factory.mktemp("new")
    options = ["--files"] if name == "my-files" else []
    command = ["trackyard", "experiment-tracker", "flavor", "new", name, *options]
    environment.succeed(*command, folder=folder)
    package = folder / f"trackyard-{name}"
    environment.install("--editable", package)
    return package


def commands_of_its_ci(package):
    """Give the commands of the workflow, one in each line, but for those that install."""
    text = (package / ".github/workflows/check.yml").read_text(encoding="utf-8")
    commands = re.findall(r"^ +- run: (.+)$", text, re.MULTILINE)
    return [command.split() for command in commands if "pip install" not in command]


@pytest.mark.slow(takes_long=True)
def test_its_ci_passes(environment, package):
    """Linter, formatter, strict types and the suite, with no expected failure."""
    commands = commands_of_its_ci(package)
    assert commands == [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["pytest"]]

    commands[-1] += ["-k", "not storm or 503 and log"]  # each of them takes a second, or more
    *_, types, suite = [environment.succeed(*command, folder=package) for command in commands]

    assert re.search("no issues found in [45] source files", types)
    summary = suite.splitlines()[-1]
    assert int(re.search(r"(\d+) passed", summary)[1]) > 90, suite
    assert "failed" not in summary


def test_its_readme_says_the_commands_of_its_ci(package):
    (block,) = re.findall(
        r"## Work on it\n\n```console\n(.*?)```", (package / "README.md").read_text(), re.DOTALL
    )

    for command in commands_of_its_ci(package):
        assert " ".join(command) in block
    workflow = (package / ".github/workflows/check.yml").read_text()
    assert "pip install --editable . --group dev" in block
    assert "pip install --editable . --group dev" in workflow


def test_what_its_group_dev_needs_is_what_was_installed_here(package):
    project = tomllib.loads((package / "pyproject.toml").read_text())
    names = {re.match(r"[\w-]+", line)[0] for line in project["dependency-groups"]["dev"]}

    assert names == {"mypy", "pytest", "ruff", "trackyard"}


def test_it_is_a_flavor_of_the_environment(environment, package):
    name = package.name.removeprefix("trackyard-")
    command = ["trackyard", "experiment-tracker", "flavor", "describe", name]
    found = environment.succeed(*command, folder=package)

    assert f"Track runs in {name}." in found
    assert ("directory" if name == "my-files" else "MY_BOARD_TOKEN") in found


@pytest.mark.parametrize("options", [[], ["--files"]])
def test_its_lines_fit_whatever_its_name(environment, tmp_path, options):
    name = "x" * 30  # the longest
    command = [
        "trackyard",
        "experiment-tracker",
        "flavor",
        "new",
        name,
        "--directory",
        ".",
        *options,
    ]
    environment.succeed(*command, folder=tmp_path)

    environment.succeed("ruff", "check", folder=tmp_path)
    environment.succeed("ruff", "format", "--check", folder=tmp_path)
