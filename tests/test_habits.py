"""Do the files for the repository's host, its editors and those who cite it hold together?"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

import trackyard

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(
    set((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) - {GITHUB / "ISSUE_TEMPLATE/config.yml"}
)
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "dependabot": [GITHUB / "dependabot.yml"],
    "github-issue-forms": FORMS,
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE/config.yml"],
    "citation-file-format": [ROOT / "CITATION.cff"],
}
SCRIPTS = Path(sys.executable).parent


@pytest.mark.parametrize("schema", SCHEMAS)
def test_file_has_the_form_that_its_reader_asks_for(schema):
    assert SCHEMAS[schema]
    options = ["--builtin-schema", f"vendor.{schema}", *map(str, SCHEMAS[schema])]
    done = CliRunner().invoke(check_jsonschema, options)

    assert done.exit_code == 0, done.output


@pytest.mark.skipif(not shutil.which("actionlint"), reason="there is no actionlint on the PATH")
@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actionlint_takes_the_workflow(workflow):
    done = subprocess.run(["actionlint", workflow], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_what_cannot_be_moved_and_say_their_version(workflow):
    uses = re.findall(r"uses: (.*)", workflow.read_text())

    assert uses
    assert [use for use in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", use)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_scripts_that_a_workflow_runs_are_there(workflow):
    scripts = re.findall(r"\.ci/[\w-]+", workflow.read_text())

    assert scripts
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def test_workflows_try_every_python_that_a_package_names():
    classifiers = tomllib.loads((ROOT / "core/pyproject.toml").read_text())["project"][
        "classifiers"
    ]
    named = [found[1] for found in map(re.compile(r".* :: (3\.\d+)$").match, classifiers) if found]
    for workflow, job in (("ci", "linux"), ("release", "check")):
        jobs = yaml.safe_load((GITHUB / f"workflows/{workflow}.yml").read_text())["jobs"]

        assert jobs[job]["strategy"]["matrix"]["python"] == named


def test_hooks_before_a_commit_are_commands_of_the_environment():
    """A hook of another repository would be fetched, and be of another release than CI's."""
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

    assert [found["repo"] for found in repositories] == ["local"]
    for hook in repositories[0]["hooks"]:
        *uv, command = shlex.split(hook["entry"])[:4]
        assert (uv, hook["language"]) == (["uv", "run", "--no-sync"], "system")
        assert (SCRIPTS / command).exists(), command
        re.compile(hook.get("files", ""))


def test_shellcheck_takes_the_scripts_of_ci():
    scripts = [path for path in (ROOT / ".ci").iterdir() if b"bash" in path.read_bytes()[:200]]
    command = [SCRIPTS / "shellcheck", "--external-sources", "--shell=bash"]
    command += ["--severity=warning", *scripts]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert len(scripts) > 3
    assert done.returncode == 0, done.stdout


def test_citation_names_the_project_and_its_version_and_no_person():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert citation["version"] == trackyard.__version__
    assert citation["authors"] == [{"name": "The Trackyard contributors"}]
    assert "@" not in (ROOT / "CITATION.cff").read_text()
