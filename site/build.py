"""Build the site: every page of this repository, and the reference of both doors.

`uv run site/build.py` writes it to `build/site/`; a link that leads nowhere, or a page that is in
no menu, is an error. It loads nothing from elsewhere, and any server of files can serve it.
"""

import argparse
import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
SOURCES = ROOT / "core/src"
# Title and text of each door's reference, and the modules that come first in it.
DOORS = {
    "trackyard": (
        "The names for users",
        "What `from trackyard import ...` gives, by the question that its module answers.",
        ("pipelines", "tracking", "client"),
    ),
    "trackyard.contract": (
        "The names for authors",
        "What `from trackyard.contract import ...` gives to flavors and other plugins.",
        ("contract.flavors", "contract.hookspecs", "contract.records", "contract"),
    ),
}
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "plugins").glob("*.md"),
    *(ROOT / "plugins").glob("*/README.md"),
    *(ROOT / "docs").rglob("*.md"),
]
PICTURES = [*(ROOT / "docs").rglob("*.png"), *(ROOT / "docs").rglob("*.svg")]
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(?=[)#])")
FLAVORS = (
    *("mlflow", "wandb", "comet", "neptune", "trackio", "tensorboard"),
    *("dvclive", "swanlab"),
)
# What is no flavor: what it is for, in the menu.
COMPANIONS = {
    "integrations": "Frameworks' bridges",
    "kedro": "Kedro",
    "mcp": "MCP",
    "page": "The page, served",
    "ray": "Ray",
    "system-metrics": "System metrics",
}
FRAMEWORKS = (
    *("lightning", "transformers", "accelerate", "keras", "xgboost", "lightgbm", "catboost"),
    *("scikit-learn", "optuna", "ray", "hydra", "write-one"),
)
NAVIGATION = [
    {"Trackyard": "README.md"},
    {
        "Users": [
            "docs/index.md",
            "docs/tutorial/index.md",
            {
                "Write and run": [
                    "docs/pipelines.md",
                    "docs/configuration.md",
                    "docs/values.md",
                    {
                        "Frameworks": [
                            "docs/frameworks.md",
                            *(f"docs/frameworks/{name}.md" for name in FRAMEWORKS),
                        ]
                    },
                    "docs/other-runners.md",
                    {
                        "Schedulers": [
                            "docs/schedulers/index.md",
                            *(
                                f"docs/schedulers/{name}.md"
                                for name in ("ci", "cron", "systemd", "slurm", "kubernetes")
                            ),
                        ]
                    },
                ]
            },
            {"Look": ["docs/runs.md", "docs/page.md", "docs/agents.md"]},
            {
                "Trackers": [
                    {"What each holds": "plugins/README.md"},
                    "docs/change-the-tracker.md",
                    *(f"docs/flavors/{name}.md" for name in FLAVORS),
                ]
            },
            {
                "Bring your runs": [
                    f"docs/leave-{name}.md"
                    for name in ("mlflow", "wandb", "comet", "neptune", "tensorboard")
                ]
            },
            {
                "Packages": [
                    *(
                        {f"trackyard-{name}": f"plugins/{name}/README.md"}
                        for name in (*FLAVORS, *COMPANIONS)
                    ),
                ]
            },
            {
                "Trust": [
                    "docs/reliability.md",
                    "docs/performance.md",
                    "docs/scale.md",
                    "SECURITY.md",
                ]
            },
        ]
    },
    {
        "Authors": [
            "docs/write-a-flavor.md",
            {"Hooks": "HOOKS"},
            "docs/write-an-orchestrator.md",
            "docs/write-a-materializer.md",
            "docs/write-a-plugin.md",
            "docs/write-a-command.md",
        ]
    },
    {
        "Reference": [
            {"trackyard": "reference/trackyard.md"},
            {"trackyard.contract": "reference/trackyard.contract.md"},
            "docs/reference/cli.md",
            "docs/reference/json.md",
        ]
    },
    {
        "Contributors": [
            "docs/how-it-works.md",
            "CONTRIBUTING.md",
            "RELEASING.md",
            "CODE_OF_CONDUCT.md",
            "CHANGELOG.md",
        ]
    },
]


def gather(folder: Path) -> None:
    """Write every page where the site's generator reads it, as it lies in this repository.

    Args:
        folder: It is made anew.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        write(folder / page.relative_to(ROOT), as_the_generator_reads(linked(page, text, folder)))
    for picture in PICTURES:
        place = folder / picture.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, place)
    for door in DOORS:
        write(folder / f"reference/{door}.md", reference(door))
    shutil.copytree(HERE / "assets", folder / "assets")


def write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


def linked(page: Path, text: str, folder: Path) -> str:
    """Make a page of each file of code that a page links to, and link to that."""

    def link(found: re.Match[str]) -> str:
        target = (page.parent / found[1]).resolve()
        if not target.is_file() or target.suffix in (".md", ".png", ".svg"):
            return found[0]
        name = target.relative_to(ROOT)
        language = {".py": "python", ".toml": "toml", ".yaml": "yaml"}.get(target.suffix, "text")
        code = target.read_text(encoding="utf-8")
        shown = f"# {target.name}\n\n`{name}`\n\n~~~~{language}\n{code}~~~~\n"
        write(folder / f"{name}.md", shown)
        return f"{found[0]}.md"

    return LINK.sub(link, text)


def as_the_generator_reads(text: str) -> str:
    """Write lists as Python-Markdown wants them: behind an empty line, indented by four.

    Args:
        text: A page as GitHub reads it.
    """
    lines, indent, is_code, before = [], 0, False, ""
    for line in text.splitlines():
        is_code ^= line.lstrip().startswith("```")
        item = re.match(r"(\d+\.|-|\*) +(?=\S)", line)
        if item and not is_code:
            if before and not indent:
                lines.append("")
            indent, more = len(item[0]), 0
        elif line and not line.startswith(" " * indent):
            indent = more = 0
        else:
            more = 4 - indent if indent and line else 0
        lines.append(" " * more + line)
        before = line
    return "\n".join(lines) + "\n"


def reference(door: str) -> str:
    """List the names of a door, below what its module answers.

    Args:
        door: `trackyard` or `trackyard.contract`.
    """
    title, text, _ = DOORS[door]
    parts = [f"# {title}", text]
    for module, names in names_of(door).items():
        parts += [f"## {question_of(module)}", f"In `{module}`."]
        parts += [f"::: {door}.{name}" for name in names]
    return "\n\n".join(parts) + "\n"


def names_of(door: str) -> dict[str, list[str]]:
    """Give the names that a door lists, by the module that each comes from."""
    stub = SOURCES / door.replace(".", "/") / "__init__.pyi"
    found: dict[str, list[str]] = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        assert node.module
        if door == "trackyard" and node.module == "trackyard.contract":
            continue  # they stand in the other door's reference
        found.setdefault(node.module, []).extend(alias.asname or "" for alias in node.names)
    first = [f"trackyard.{name}" for name in DOORS[door][2]]

    def place(module: str) -> int:
        fitting = (i for i, name in enumerate(first) if f"{module}.".startswith(f"{name}."))
        return next(fitting, len(first))

    return {module: found[module] for module in sorted(found, key=place)}


def question_of(module: str) -> str:
    path = SOURCES / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or module
    return docstring.splitlines()[0]


def navigation(folder: Path) -> list[object]:
    """Give the menu, with all hooks."""
    hooks = folder / "docs/reference/hooks"
    names = sorted(path.name for path in hooks.glob("tracker_*.md"))
    pages = [f"docs/reference/hooks/{name}" for name in ("index.md", *names)]

    def filled(entry: object) -> object:
        if isinstance(entry, list):
            return [filled(each) for each in entry]
        if isinstance(entry, dict):
            return {key: filled(value) for key, value in entry.items()}
        return pages if entry == "HOOKS" else entry

    return [filled(entry) for entry in NAVIGATION]


def build(folder: Path) -> None:
    """Build the site.

    Args:
        folder: Where it goes, to `site/`; what it is made from goes to `pages/`.
    """
    pages = folder / "pages"
    gather(pages)
    configuration = yaml.unsafe_load((HERE / "mkdocs.yml").read_text(encoding="utf-8"))
    configuration |= {"docs_dir": "pages", "site_dir": "site", "nav": navigation(pages)}
    configuration["plugins"][1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(SOURCES)]
    (folder / "mkdocs.yml").write_text(yaml.dump(configuration, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(
        [*command, "-f", str(folder / "mkdocs.yml")],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build")
    build(parser.parse_args().folder.resolve())
