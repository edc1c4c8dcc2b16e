"""Do the distributions hold what whoever installs them needs?"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import trackyard

ROOT = Path(__file__).parents[1]
MEMBERS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
SDKS = {"aim", "comet-ml", "kedro", "mlflow", "mlflow-skinny", "neptune", "neptune-scale", "psutil"}
SDKS |= {"mcp", "prefect", "ray", "starlette", "tensorboard", "tensorboardx", "trackio", "wandb"}
SDKS |= {"keras", "lightgbm", "lightning", "optuna", "transformers", "xgboost"}  # by extras
SDKS |= {"swanlab"}
WITHOUT_SDK = {"trackyard-dvclive"}  # it writes the files itself


class Built:
    """A member of the workspace, with its sdist and wheel."""

    def __init__(self, member: Path, target: Path) -> None:
        self.member = member
        self.project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
        command = [sys.executable, "-W", "error", "-m", "hatchling", "build", "-d", str(target)]
        self.build = subprocess.run(
            command, check=False, cwd=member, capture_output=True, text=True
        )
        self.wheel = next(target.glob("*.whl"))
        self.sdist = next(target.glob("*.tar.gz"))
        self.files = set(zipfile.ZipFile(self.wheel).namelist())
        info = "-".join(self.wheel.name.split("-")[:2]) + ".dist-info/"
        self.distribution = PathDistribution(zipfile.Path(self.wheel, info))
        self.requirements = {
            canonicalize_name(requirement.name): requirement
            for requirement in map(Requirement, self.distribution.requires or [])
            if requirement.marker is None
        }


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    return {member.name: Built(member, tmp_path_factory.mktemp(member.name)) for member in MEMBERS}


@pytest.fixture(params=[member.name for member in MEMBERS])
def built(request, distributions):
    return distributions[request.param]


@pytest.fixture(params=[member.name for member in MEMBERS if member.name != "core"])
def plugin(request, distributions):
    return distributions[request.param]


def test_sdist_and_wheel_are_built_without_a_warning(built):
    """Python warnings are errors here, and the builder itself has nothing to say either."""
    assert built.build.returncode == 0, built.build.stderr
    assert "warn" not in (built.build.stdout + built.build.stderr).lower()


def test_wheel_holds_every_file_of_the_package_and_nothing_else(built):
    """Data files such as `py.typed` and templates are in it; tests are not."""
    (package,) = (built.member / "src").iterdir()
    hatch = tomllib.loads((built.member / "pyproject.toml").read_text())["tool"]["hatch"]
    left_out = hatch.get("build", {}).get("exclude", [])
    expected = {
        path.relative_to(package.parent).as_posix()
        for folder, _, names in os.walk(package, followlinks=True)  # a package may hold the pages
        for path in map(Path(folder).joinpath, names)
        if "__pycache__" not in path.parts and not any(map(path.match, left_out))
    }

    assert {name for name in built.files if ".dist-info/" not in name} == expected
    assert f"{package.name}/py.typed" in expected


def test_sdist_holds_what_a_build_needs(built):
    with tarfile.open(built.sdist) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}

    assert {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml"} <= inside


def test_metadata_says_what_it_is(built):
    """Name, version, license, a readme and the Pythons that it runs on."""
    metadata = built.distribution.metadata

    assert metadata["Name"] == built.project["name"]
    assert metadata["Version"] == built.project["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert not [line for line in metadata.get_all("Classifier") if line.startswith("Private")]


def test_readme_is_the_description(built):
    """The page of a package index shows it, so that its links lead out of this repository."""
    description = built.distribution.metadata.get_payload()

    assert description.strip().startswith(f"# {built.project['name']}\n")
    assert "](../" not in description
    assert "](docs" not in description


def test_license_is_the_one_of_the_repository(built):
    inside = built.distribution.read_text("licenses/LICENSE")

    assert inside == (ROOT / "LICENSE").read_text()


def test_entry_points_name_modules_of_the_same_wheel(built):
    declared = built.project.get("entry-points", {})
    found = [point for point in built.distribution.entry_points if point.group in declared]

    assert len(found) == sum(map(len, declared.values()))
    for point in found:
        assert point.group.startswith("trackyard.") or point.group in ("kedro.hooks", "pytest11")
        path = point.module.replace(".", "/")
        assert {f"{path}.py", f"{path}/__init__.py"} & built.files, point


def test_core_needs_no_sdk(distributions):
    assert not SDKS & distributions["core"].requirements.keys()


def test_core_declares_the_command_and_its_orchestrator(distributions):
    points = distributions["core"].distribution.entry_points

    assert [point.value for point in points.select(group="console_scripts")] == [
        "trackyard.cli:main"
    ]
    assert "local" in points.select(group="trackyard.orchestrators").names


def test_core_says_its_version(distributions):
    assert trackyard.__version__ == distributions["core"].project["version"]


def test_plugin_takes_the_core_beside_it_and_no_later_contract(plugin, distributions):
    """Before 1.0 a minor release of core may change the contract."""
    core = distributions["core"].project["version"]
    major, minor = map(int, core.split(".")[:2])
    specifier = plugin.requirements["trackyard"].specifier

    assert core in specifier
    assert f"{major}.{minor + 1}.0" not in specifier


def test_plugin_needs_its_sdk_from_a_real_floor(plugin):
    """Without a floor a resolver may go back to a release of years ago."""
    needed = map(Requirement, plugin.distribution.requires or [])  # also by extras
    sdks = [one for one in needed if canonicalize_name(one.name) in SDKS]

    assert bool(sdks) != (plugin.project["name"] in WITHOUT_SDK)
    for sdk in sdks:
        assert {">=", "=="} & {part.operator for part in sdk.specifier}, sdk


def test_mlflow_flavor_is_found_by_its_entry_point(distributions):
    points = distributions["mlflow"].distribution.entry_points

    assert [(point.name, point.value) for point in points.select(group="trackyard.flavors")] == [
        ("mlflow", "trackyard_mlflow:MlflowTracker")
    ]
