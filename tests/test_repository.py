"""Does the repository keep the rules that no other tool checks?"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MEMBERS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]

# In pieces, so that this file does not name them itself.
HOSTS = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.", "yarn" + "pkg.com"]
HOSTS += ["deb.deb" + "ian.org", "security.deb" + "ian.org", "arti" + "factory", "dev" + "pi"]
PATHS = ["/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/"]
FOREIGN = re.compile(
    "|".join([*map(re.escape, HOSTS), *(rf"(?<![\w.}}]){path}" for path in PATHS)])
)


@pytest.fixture(scope="module")
def committed():
    """Every file that is committed or about to be, as paths from the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("this is no git checkout")
    return [name for name in found.stdout.split("\0") if (ROOT / name).is_file()]


def test_no_file_names_a_package_index_or_a_path_of_one_machine(committed):
    """Whoever clones this may use another index and another folder."""
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in committed
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1)
        if FOREIGN.search(line)
    ]

    assert found == []


def test_the_search_for_hosts_and_paths_finds_them():
    assert all(FOREIGN.search(f"x = '{word}'") for word in HOSTS + PATHS)
    assert not FOREIGN.search("https://example.com" + PATHS[1] + "space")


def test_lock_file_is_not_committed(committed):
    """It names the index that it was made with; constraints.txt pins without one."""
    assert not [name for name in committed if name.endswith("uv.lock")]


def test_constraints_name_no_address():
    assert not re.search(r"://|^-|@", _constraints(), re.MULTILINE)


def test_every_requirement_is_pinned_within_its_bounds():
    """Refresh constraints.txt by `.ci/pin` when a dependency comes or goes."""
    pins: dict[str, list[str]] = {}  # one per range of Pythons
    for pin in map(Requirement, _constraints().splitlines()):
        pins.setdefault(canonicalize_name(pin.name), []).extend(s.version for s in pin.specifier)
    ours = {project["name"] for project in _projects()}
    wanting = [
        str(requirement)
        for requirement in _requirements()
        if requirement.name not in ours
        for versions in [pins.get(canonicalize_name(requirement.name), [])]
        if not versions or not all(map(requirement.specifier.contains, versions))
    ]

    assert wanting == []


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_member_has_the_license_of_the_repository(member):
    assert (member / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_changelog_fragments_have_a_known_type_and_name_their_package():
    types = "|".join(PROJECT["tool"]["towncrier"]["fragment"])
    packages = "|".join(sorted(project["name"] for project in _projects()))
    for path in _fragments():
        assert re.fullmatch(rf"(\+[a-z0-9-]+|\d+)\.({types})(\.\d+)?\.md", path.name), path.name
        assert re.match(rf"({packages}): \S", path.read_text()), path.name


def test_changelog_can_be_built(tmp_path):
    """What `towncrier build` would write holds every fragment's text."""
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9.9"]
    draft = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)

    assert draft.returncode == 0, draft.stderr
    for path in _fragments():
        assert path.read_text().strip() in draft.stdout
    places = [draft.stdout.find(f"\n- {name}") for name in ("trackyard: ", "trackyard-")]
    assert -1 < places[0] < places[1]  # core comes first
    marker = PROJECT["tool"]["towncrier"]["start_string"]
    assert marker in (ROOT / "CHANGELOG.md").read_text()


def test_contributing_shows_the_layers_that_the_linter_enforces():
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    layers = "\n".join(contracts[0]["layers"])

    assert f"```text\n{layers}\n```" in _contributing(), f"CONTRIBUTING.md should say:\n{layers}"


def test_contributing_names_files_that_are_there():
    paths = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.(?:md|toml|txt))`", _contributing()))
    paths -= {"trackyard.toml"}  # the user's

    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_readme_and_contributing_promise_the_same():
    promised = [
        re.findall(r"^\d+\. \*\*.*$", text, re.MULTILINE) for text in (_readme(), _contributing())
    ]

    assert len(promised[0]) == 13
    assert promised[0] == promised[1]


def test_ci_runs_the_readmes_command_and_then_the_slower_tiers():
    """Each script says in its last lines which steps it has; `steps.sh` reads the README."""
    shared, run, long = ((ROOT / ".ci" / name).read_text() for name in ("steps.sh", "run", "long"))
    reading = re.search(r"command=\$\((awk '[^']+' README.md)\)", shared)[1]
    command = subprocess.check_output(["bash", "-c", reading], cwd=ROOT, text=True).strip()

    assert command.endswith("uv run pytest")
    assert f"\n{command}\n```" in (ROOT / "README.md").read_text()
    assert re.search(r"^step tests tests \w+$", run, re.MULTILINE)
    assert re.search(r'^step slow tests \w+ "-m slow"$', run, re.MULTILINE)
    assert re.search(r'^step tests tests \w+ "-m long"$', long, re.MULTILINE)
    assert "benchmarks/*.py" in long


def test_markers_are_registered_with_what_runs_them():
    markers = dict(
        mark.split(": ", 1) for mark in PROJECT["tool"]["pytest"]["ini_options"]["markers"]
    )

    assert ".ci/run" in markers["slow(takes_long)"]
    assert ".ci/long" in markers["long(reason)"]


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [
        ("", 1, ["good N s  ok", "bad N s  FAILED"]),
        ("good", 0, ["good N s  ok"]),
        ("goood", 1, ["there is no step 'goood'; the steps are: good bad"]),
    ],
)
def test_steps_of_ci_are_chosen_and_summed_up(names, code, said):
    steps = "step good true; step bad false; finish"
    script = f"set -euo pipefail; set -- {names}; . .ci/steps.sh; {steps}"
    command = ["bash", "-c", script]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    summary = re.sub(r" +\d+ s", " N s", done.stderr + done.stdout).splitlines()

    assert done.returncode == code
    assert [line for line in said if line not in summary] == []
    assert ("bad " in done.stdout) == (not names)


def _constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def _contributing():
    return (ROOT / "CONTRIBUTING.md").read_text()


def _readme():
    return (ROOT / "README.md").read_text()


def _fragments():
    return [path for path in (ROOT / "changelog").iterdir() if path.name != "README.md"]


def _projects():
    return [tomllib.loads((path / "pyproject.toml").read_text())["project"] for path in MEMBERS]


def _requirements():
    groups = PROJECT["dependency-groups"].values()
    texts = [text for group in groups for text in group if isinstance(text, str)]
    for project in _projects():
        texts += project["dependencies"]
        for extra in project.get("optional-dependencies", {}).values():
            texts += extra
    return [Requirement(text) for text in texts]
