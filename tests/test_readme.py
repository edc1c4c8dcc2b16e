"""Does what the README and the pages in docs/ say hold?"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import requires
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trackyard.cli.main import cli
from trackyard.project.configuration import find_project
from trackyard.project.stacks import TrackerOptions, active_stack, load_trackers
from trackyard.project.trackers import Trackers

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "core/README.md",
    ROOT / "plugins/README.md",
    *sorted(ROOT.glob("plugins/*/README.md")),
]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
# Their flavors are in no default group: tests/thirdparty/test_flavors_apart.py runs them.
APART = {
    ROOT / page.format(name)
    for page in ("docs/flavors/{}.md", "plugins/{}/README.md")
    for name in ("dvclive", "swanlab")
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([\w-]+))?\)")


def blocks(page, *languages):
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if not languages or language in languages]


def pages_with(language, by_default=""):
    """Parametrize by pages; beside the README those alone run by default whose names match."""
    pages = [page for page in PAGES if blocks(page, language) and page not in APART]
    names = {page: str(page.relative_to(ROOT)) for page in pages}
    marks = {
        page: () if page == README or re.match(by_default, name) else pytest.mark.slow
        for page, name in names.items()
    }
    params = [pytest.param(page, marks=marks[page], id=names[page]) for page in pages]
    return pytest.mark.parametrize("page", params)


def test_first_block_of_the_readme_is_the_quickstart_and_the_tests():
    """Each line does all of its own set-up, so that either may be the first."""
    quickstart, tests = blocks(README)[0].splitlines()
    set_up = "python3 -m venv .uv && .uv/bin/pip install -q uv && "

    assert quickstart == set_up + ".uv/bin/uv run --only-group quickstart examples/quickstart.py"
    assert tests == set_up + ".uv/bin/uv run pytest"
    assert (ROOT / "examples/quickstart.py").is_file()


def test_readme_shows_a_run_in_its_trackers_page_and_a_comparison_in_ours():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.read_text(encoding="utf-8"))

    assert pictures == ["docs/images/run.png", "docs/images/page-compare.png"]
    for picture in pictures:
        data = (ROOT / picture).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) < 300_000


def test_what_the_quickstart_needs_is_a_hundred_distributions():
    """Ray, moto or a linter would be among them as soon as a group is drawn in."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    wanted = [text for text in groups["quickstart"] if isinstance(text, str)]
    found, waiting = set(), [*groups["examples"], *wanted]
    while waiting:
        name = canonicalize_name(Requirement(waiting.pop()).name)
        if name not in found:
            found.add(name)
            waiting += [text for text in requires(name) or () if _is_needed(text)]

    assert 60 < len(found) <= 130


@pytest.mark.long(reason="installs a hundred distributions anew")
def test_first_command_needs_a_clone_and_an_empty_home_alone(tmp_path):
    """It prints a link for each tracked step, and leaves the commands that it names."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "clone" / name, follow_symlinks=False)
    (tmp_path / "home").mkdir()
    own = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "TRACKYARD_", "XDG_"))}
    own = {k: v for k, v in own.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        ["bash", "-c", blocks(README)[0].splitlines()[0]],
        check=False,
        cwd=tmp_path / "clone",
        env={**own, "HOME": str(tmp_path / "home"), "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    installed = list((tmp_path / "clone/.venv/lib").glob("python3*/site-packages/*.dist-info"))

    assert len(re.findall(r"^\w+ +finished .* http://127\.0\.0\.1:5000/#/", done.stdout, re.M)) == 4
    assert 60 < len(installed) <= 130
    for command in re.findall(r"\.venv/bin/trackyard \w+", done.stdout):
        subprocess.run([*command.split(), "--help"], check=True, cwd=tmp_path / "clone")


def _is_needed(text):
    marker = Requirement(text).marker
    return marker is None or marker.evaluate({"extra": ""})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for path, heading in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), path
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [text.lower().replace(" ", "-") for text in headings], heading


@pytest.fixture(scope="module")
def ran(tmp_path_factory, empty_store):
    """Give a function that runs a page's Python once; gives its folder, the program, its output."""

    @cache
    def run(page):
        folder = tmp_path_factory.mktemp("page")
        return (folder, *run_blocks(page, folder, empty_store))

    return run


@pages_with("python", by_default=r"docs/(runs|write-a-flavor|reference/hooks/tracker_log)\.md")
def test_python_blocks_run(page, ran):
    """A line `# text` below a print is what it prints."""
    _, program, output = ran(page)

    for printed in re.findall(r"^ *print\(.*\n *# (.+)$", program, re.MULTILINE):
        assert printed in output.splitlines()


def test_flavor_of_the_readme_writes_the_metrics_of_the_pipeline(ran):
    folder, *_ = ran(README)
    (written,) = (folder / "runs").glob("*.csv")

    assert [line.split(",")[:2] for line in written.read_text().splitlines()] == [
        ["loss", str(epoch)] for epoch in range(10)
    ]


def run_blocks(page, folder, empty_store):
    """Run a page's Python blocks as one program in a new project, and give it and its output.

    A block that begins with a file's name is that file.
    """
    (folder / ".trackyard").mkdir()
    shutil.copyfile(empty_store, folder / ".trackyard/mlflow.db")
    program = ""
    for block in blocks(page, "python", "toml"):
        first = block.partition("\n")[0]
        if re.fullmatch(r"# [\w/]+\.(py|toml)", first):
            (folder / first[2:]).parent.mkdir(parents=True, exist_ok=True)
            (folder / first[2:]).write_text(block, encoding="utf-8")
        elif block in blocks(page, "python"):
            program += block + "\n"
    (folder / "program.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "TRACKYARD_HOME"},
    )
    assert done.returncode == 0, done.stderr
    return program, done.stdout


@pages_with("toml")
def test_toml_blocks_are_valid_configuration(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for block in blocks(page, "python"):
        if block.startswith("# trackers.py\n"):
            (tmp_path / "trackers.py").write_text(block, encoding="utf-8")
    for block in blocks(page, "toml"):
        if block.startswith("# pyproject.toml\n"):
            continue
        for name in re.findall(r'"env:(\w+)"', block):
            monkeypatch.setenv(name, "a-secret")
        (tmp_path / "trackyard.toml").write_text(block, encoding="utf-8")
        project = find_project()

        trackers = load_trackers(project)
        assert set(active_stack(project).experiment_trackers) <= set(trackers)
        assert len(Trackers(project).select(list(trackers))) == len(trackers)
        assert trackers or not block.startswith("[experiment_trackers")
    sys.modules.pop("trackers", None)


@pages_with("console")
def test_commands_on_the_pages_exist(page):
    projects = [tomllib.loads(block) for block in blocks(page, "toml")]
    points = [found.get("project", {}).get("entry-points", {}) for found in projects]
    own = {name for found in points for name in found.get("trackyard.commands", {})}
    for line in "\n".join(blocks(page, "console")).splitlines():
        command = re.sub(r"^\.venv/bin/", "", line)
        if command.startswith("trackyard ") and command.split()[1] not in own:
            result = CliRunner().invoke(cli, [*shlex.split(command)[1:], "--help"])

            assert result.exit_code == 0, result.output


@pytest.mark.parametrize("page", sorted((ROOT / "docs/flavors").glob("*.md")), ids=lambda p: p.stem)
def test_fields_of_a_flavor_are_as_its_class_declares_them(page):
    """`uv run docs/write_fields.py` writes them anew."""
    text = page.read_text(encoding="utf-8")
    written = runpy.run_path(str(ROOT / "docs/write_fields.py"))["written"]

    assert "<!-- fields of " in text
    assert written(text) == text


def test_configuration_names_every_option_of_a_tracker_with_its_default():
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.MULTILINE)
    rows = dict(reversed(found))  # stacks, which come later, have a `capture`, too
    options = TrackerOptions(flavor="mlflow")
    names = [field.name for field in TrackerOptions.__attrs_attrs__ if field.name != "flavor"]

    assert {name: tomllib.loads(f"value = {rows[name]}")["value"] for name in names} == {
        # Where nothing is said, a tracker whose page is not public gets context and console.
        name: True if getattr(options, name) is None else getattr(options, name)
        for name in names
    }
