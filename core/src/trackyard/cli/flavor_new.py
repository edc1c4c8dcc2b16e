"""`trackyard experiment-tracker flavor new`: what does a new flavor's package consist of?"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import attrs
import click

import trackyard
from trackyard.cli.output import json_option, say, show_json
from trackyard.contract.errors import TrackyardError
from trackyard.hooks.discovery import FLAVORS, find_plugins
from trackyard.hooks.known import known_flavors

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST = 30  # of these, the lines of the templates fit
# Where each template goes. They end in .txt: they are no modules, and no project of their own.
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "gitignore": ".gitignore",
    "check.yml": ".github/workflows/check.yml",
    "init.py": "src/@MODULE@/__init__.py",
}
_OF_FILES = {
    "README.md": "README.md",
    "tracker.py": "src/@MODULE@/tracker.py",
    "backend.py": "src/@MODULE@/backend.py",
    "test_conformance.py": "tests/test_conformance.py",
}
_OF_SERVER = {
    "http/README.md": "README.md",
    "http/tracker.py": "src/@MODULE@/tracker.py",
    "http/service.py": "src/@MODULE@/service.py",
    "http/server.py": "tests/server.py",
    "http/test_conformance.py": "tests/test_conformance.py",
}


@attrs.frozen
class NewFlavor:
    """A package that was written.

    Attributes:
        name: The flavor's name.
        distribution: What `pip install` calls it.
        flavor: Module and class.
        directory: Its folder.
        files: Its files, in that folder.
    """

    name: str
    distribution: str
    flavor: str
    directory: Path
    files: list[str]


@click.command()
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Folder of the package, which must be new or empty; `trackyard-NAME` here by default.",
)
@click.option(
    "--files", "is_of_files", is_flag=True, help="For a tracker without a server: it keeps files."
)
@json_option
def new(name: str, directory: Path | None, is_of_files: bool, as_json: bool) -> None:
    """Write the package of a new flavor NAME, which passes all checks as it is.

    It talks to a server over HTTP, with a token, and its tests bring a small one. With --files it
    keeps files until you put an SDK in their place.
    """
    _check_name(name)
    folder = directory or Path(f"trackyard-{_dashed(name)}")
    written = write_flavor(name, folder, is_of_files=is_of_files)
    if as_json:
        show_json(written)
        return
    for file in written.files:
        say(f"wrote {written.directory / file}")
    say(f"type: cd {written.directory}; README.md there says how to try it and what to replace")


def write_flavor(name: str, directory: Path, *, is_of_files: bool = False) -> NewFlavor:
    """Write the package of a new flavor, all of it or nothing.

    Args:
        name: The flavor's name.
        directory: The package's folder.
        is_of_files: It keeps files, and talks to no server.

    Raises:
        TrackyardError: The folder holds something already, or cannot be written.
    """
    words = re.split(r"[-_]", name)
    distribution, module = f"trackyard-{_dashed(name)}", f"trackyard_{'_'.join(words)}"
    last = [] if words[-1] == "tracker" and len(words) > 1 else ["tracker"]
    class_name = "".join(word.capitalize() for word in [*words, *last])
    values = {
        "@NAME@": name,
        "@DISTRIBUTION@": distribution,
        "@MODULE@": module,
        "@CLASS@": class_name,
        "@VARIABLE@": "_".join(words).upper(),
        "@RELEASES@": _releases(trackyard.__version__),
    }
    wanted = {**_FILES, **(_OF_FILES if is_of_files else _OF_SERVER)}
    texts = {_filled(target, values): _template(name) for name, target in wanted.items()}
    texts[f"src/{module}/py.typed"] = ""
    _write(directory, {path: _filled(text, values) for path, text in texts.items()})
    return NewFlavor(name, distribution, f"{module}:{class_name}", directory, sorted(texts))


def _check_name(name: str) -> None:
    suggestion = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").removeprefix("trackyard-")
    suggestion = suggestion.lstrip("0123456789-")[:_LONGEST].rstrip("-")
    such_as = f", such as {suggestion!r}" if suggestion else ""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise click.BadParameter(
            f"{name!r} must be at most {_LONGEST} small letters and digits, with - or _ between "
            f"them, and begin with a letter{such_as}",
            param_hint="NAME",
        )
    if re.match("trackyard[-_]", name):
        raise click.BadParameter(
            f"{name!r} is a flavor's name and needs no trackyard in it{such_as}", param_hint="NAME"
        )
    there = {_dashed(info.name): info.distribution for info in find_plugins(FLAVORS)}
    there = {**{name: known.distribution for name, known in known_flavors().items()}, **there}
    if owner := there.get(_dashed(name)):
        raise click.BadParameter(
            f"there is a flavor {name!r} already, in {owner}; choose another name",
            param_hint="NAME",
        )


def _write(directory: Path, texts: Mapping[str, str]) -> None:
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise TrackyardError(
                f"{directory} is there already and is not an empty folder; "
                "choose another by --directory, or move it away"
            )
        is_new = not directory.exists()
        try:
            for path, text in texts.items():
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                (directory / path).write_text(text, encoding="utf-8")
        except OSError:
            _clear(directory, is_new)
            raise
    except OSError as error:
        raise TrackyardError(f"{directory} cannot be written: {error}") from error


def _clear(directory: Path, is_new: bool) -> None:
    """Take away what was written before the disk said no."""
    for path in [directory] if is_new else list(directory.glob("*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _template(name: str) -> str:
    return (files("trackyard.cli") / "new_flavor" / f"{name}.txt").read_text(encoding="utf-8")


def _filled(text: str, values: Mapping[str, Any]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _releases(version: str) -> str:
    """Give the releases with this contract: before 1.0 a minor release may change it."""
    major, minor = (int(part) for part in version.split(".")[:2])
    most = f"{major + 1}" if major else f"0.{minor + 1}"
    return f">={major}.{minor},<{most}"
