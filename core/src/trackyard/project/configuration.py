"""Where is a project's configuration, and which file says what?

A value is looked up in the project's file first, `trackyard.toml` or `[tool.trackyard]` of
`pyproject.toml`, and then in the user's own file, which holds for all of their projects.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import attrs

from trackyard.contract.errors import ConfigError, refuse_newer
from trackyard.project.choosing import starting_folder
from trackyard.system.stamps import users_folder

logger = logging.getLogger("trackyard")

# Of how things lie in `.trackyard/`: names of folders, and marks that are empty files. Who changes
# that raises it, and writes the number to the file `format` there; where there is none it is 1.
FORMAT = 1

# What may be written as a value, too, in place of a table that has it under this key.
_SHORT_FORMS = {"store": "url"}

LayerKind = Literal["project file", "pyproject", "user file"]


@attrs.frozen
class Layer:
    """One file of a project's configuration.

    Attributes:
        kind: Which of the files it is.
        file: Its path.
        prefix: Key path of the configuration inside that file, such as `tool.trackyard.`.
        table: The configuration as read.
    """

    kind: LayerKind
    file: Path
    prefix: str
    table: Mapping[str, Any]

    def holds(self, keys: tuple[str, ...]) -> bool:
        """Tell whether there is something at a key path."""
        value: Any = self.table
        for key in keys:
            if isinstance(value, str):
                return key == _SHORT_FORMS.get(keys[0])
            if not isinstance(value, Mapping) or key not in value:
                return False
            value = value[key]
        return True


@attrs.frozen(slots=False)
class Project:
    """A project's folder, its home for data and its configuration.

    Attributes:
        root: Folder of the configuration file, or the working directory where there is none.
        home: Absolute path of `.trackyard/`, or of `TRACKYARD_HOME`.
        layers: The files that were read; of two that say the same, the first one counts.
    """

    root: Path
    home: Path
    layers: tuple[Layer, ...] = ()

    @cached_property
    def identity(self) -> str:
        """Its folder, the same by whichever links it was reached."""
        return os.path.realpath(self.root)

    @property
    def own_layer(self) -> Layer | None:
        """The project's own file, or None where it has none."""
        return next((layer for layer in self.layers if layer.kind != "user file"), None)

    @property
    def config_file(self) -> Path | None:
        """The project's own file, or None where it has none."""
        return self.own_layer.file if self.own_layer else None

    @cached_property
    def table(self) -> Mapping[str, Any]:
        """The configuration: trackers and stacks of all files by name, each from one file."""
        merged: dict[str, Any] = {}
        for layer in reversed(self.layers):
            for key, value in layer.table.items():
                merged[key] = _over(merged[key], value, key) if key in merged else value
        return merged

    def layer(self, *keys: str) -> Layer | None:
        """Give the file that a value comes from; the project's own where it stands in none."""
        return next((layer for layer in self.layers if layer.holds(keys)), self.own_layer)

    def place(self, *keys: str) -> str:
        """Name a place in the configuration for a message: the file, then the key path."""
        layer = self.layer(*keys)
        path = ".".join(keys)
        return f"{layer.file}: {layer.prefix}{path}" if layer else f"default configuration: {path}"

    def folder(self, *keys: str) -> Path:
        """Give the folder that paths in a value are relative to: that of the file it stands in."""
        layer = self.layer(*keys)
        return layer.file.parent if layer else self.root


def _over(below: Any, value: Any, key: str) -> Any:
    """Put a value of one file over that of another: of two tables, key by key."""
    if key in _SHORT_FORMS and isinstance(below, Mapping) != isinstance(value, Mapping):
        below, value = (
            of if isinstance(of, Mapping) else {_SHORT_FORMS[key]: of} for of in (below, value)
        )
    if isinstance(below, Mapping) and isinstance(value, Mapping):
        return {**below, **value}
    return value


_project: ContextVar[Project | None] = ContextVar("trackyard_project", default=None)


def find_project(start: Path | None = None) -> Project:
    """Find the project of a folder by walking up to a `trackyard.toml` or `[tool.trackyard]`.

    Args:
        start: Where to begin; by default the folder that `project.choosing` gives.

    Raises:
        ConfigError: A configuration file cannot be read, `TRACKYARD_PROJECT` names no folder, or
            the working directory is gone.
        NewerFormatError: A newer Trackyard wrote the project's `.trackyard/`.
    """
    start = Path(start or starting_folder(_has_project)).absolute()
    users = _users_layer()
    for folder in (start, *start.parents):
        own = _project_layer(folder)
        if own is not None:
            return Project(folder, _home(folder), (own, *users))
    return Project(start, _home(start), users)


def _has_project(start: Path) -> bool:
    return any(_project_layer(folder) is not None for folder in (start, *start.parents))


def home() -> Path:
    """Give the absolute path of the current project's `.trackyard/` folder."""
    return (_project.get() or find_project()).home


@contextmanager
def in_project(project: Project) -> Iterator[None]:
    """Let `home()` mean this project, wherever a step has moved the working directory to."""
    token = _project.set(project)
    try:
        yield
    finally:
        _project.reset(token)


def users_file() -> Path:
    """Give the path of the user's own file, which need not exist."""
    return users_folder() / "trackyard.toml"


def _users_layer() -> tuple[Layer, ...]:
    file = users_file()
    return (Layer("user file", file, "", _read_toml(file)),) if os.path.lexists(file) else ()


def _project_layer(folder: Path) -> Layer | None:
    own, shared = folder / "trackyard.toml", folder / "pyproject.toml"
    if os.path.lexists(own):  # a folder of that name is a mistake to tell, not no configuration
        if _mentions_trackyard(shared, b"[tool.trackyard"):
            _say_that_it_is_ignored(shared)
        return Layer("project file", own, "", _read_toml(own))
    table = _section(shared) if _mentions_trackyard(shared) else None
    return None if table is None else Layer("pyproject", shared, "tool.trackyard.", table)


def _mentions_trackyard(file: Path, word: bytes = b"trackyard") -> bool:
    try:
        return word in file.read_bytes()
    except OSError:
        return False


@cache
def _say_that_it_is_ignored(pyproject: Path) -> None:
    logger.warning(
        "%s: [tool.trackyard] is ignored, since trackyard.toml stands beside it; remove one",
        pyproject,
    )


def _home(root: Path) -> Path:
    try:
        home = (root / expanded(os.environ.get("TRACKYARD_HOME") or ".trackyard")).absolute()
    except ConfigError as error:
        raise ConfigError(f"TRACKYARD_HOME: {error}") from error
    _refuse_newer_layout(home)
    return home


def _refuse_newer_layout(home: Path) -> None:
    try:
        number = int((home / "format").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    refuse_newer(home, number, FORMAT)


def expanded(path: str | Path) -> Path:
    """Put a user's home folder in the place of `~` and `~name`.

    Raises:
        ConfigError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: there is no such home folder; write the whole path") from None


def _section(pyproject: Path) -> Mapping[str, Any] | None:
    """Read `[tool.trackyard]`; None where there is none."""
    table: Mapping[str, Any] = _read_toml(pyproject)
    for place in ("tool", "tool.trackyard"):
        inner = table.get(place.rpartition(".")[2])
        if inner is None:
            return None
        if not isinstance(inner, Mapping):
            raise ConfigError(f"{pyproject}: {place}: must be a table, not {inner!r}")
        table = inner
    return table


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = _copied(_parsed(path.read_text(encoding="utf-8")))
        return table
    except ValueError as error:  # no TOML, or no UTF-8
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    except FileNotFoundError:
        raise ConfigError(f"{path}: is a link that leads nowhere") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


@lru_cache(maxsize=16)
def _parsed(text: str) -> dict[str, Any]:
    """Parse a file's text; one that has not changed since is parsed once, whatever its times say.

    Each start of a run reads the configuration. What is raised is not kept.
    """
    import tomllib  # 4 ms, which a program without a configuration does not take

    return tomllib.loads(text)


def _copied(value: Any) -> Any:
    """Copy what TOML has read, so that nobody changes what others get."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
