"""Where is a project's configuration, and does it say what it may say?"""

from __future__ import annotations

import builtins
import os
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

import attrs

from trackyard.errors import ConfigError
from trackyard.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from cattrs import Converter

_T = TypeVar("_T")


@attrs.frozen
class Project:
    """A project's folder, its home for data and its configuration.

    Attributes:
        root: Folder of the configuration file, or the working directory where there is none.
        home: Absolute path of `.trackyard/`, or of `TRACKYARD_HOME`.
        config_file: The file that was read, or None.
        prefix: Key path of the configuration inside that file, such as `tool.trackyard.`.
        table: The configuration as read.
    """

    root: Path
    home: Path
    config_file: Path | None = None
    prefix: str = ""
    table: Mapping[str, Any] = attrs.field(factory=dict)

    def place(self, *keys: str) -> str:
        """Name a place in the configuration for a message: the file, then the key path."""
        file = str(self.config_file) if self.config_file else "default configuration"
        return f"{file}: {self.prefix}{'.'.join(keys)}"


def find_project(start: Path | None = None) -> Project:
    """Find the project of a folder by walking up to a `trackyard.toml` or `[tool.trackyard]`.

    Args:
        start: Where to begin; the working directory by default.

    Raises:
        ConfigError: A configuration file cannot be read.
    """
    start = Path(start or Path.cwd()).absolute()
    for folder in (start, *start.parents):
        own = folder / "trackyard.toml"
        if own.is_file():
            return Project(folder, _home(folder), own, "", _read_toml(own))
        shared = folder / "pyproject.toml"
        if shared.is_file() and b"trackyard" in shared.read_bytes():
            table = _read_toml(shared).get("tool", {}).get("trackyard")
            if table is not None:
                return Project(folder, _home(folder), shared, "tool.trackyard.", table)
    return Project(start, _home(start))


def home() -> Path:
    """Give the absolute path of the current project's `.trackyard/` folder."""
    return find_project().home


def _home(root: Path) -> Path:
    return (root / Path(os.environ.get("TRACKYARD_HOME") or ".trackyard").expanduser()).absolute()


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def structure(table: Mapping[str, Any], cls: type[_T], place: str) -> _T:
    """Make an instance of an attrs class from a table, strictly: nothing is coerced or ignored.

    Args:
        table: Keys and values as read from TOML.
        cls: The class; its types, converters and validators decide.
        place: File and key path of the table, for messages.

    Raises:
        ConfigError: One line per mistake, each with its place.
    """
    import cattrs

    _resolve_types(cls)
    try:
        return _converter().structure(dict(table), cls)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError) as error:
        lines = cattrs.transform_error(error, path=place, format_exception=_describe)
        raise ConfigError("\n".join(_place_first(line) for line in lines)) from None


def _resolve_types(cls: type) -> None:
    """Evaluate annotations that are texts, as `from __future__ import annotations` makes them.

    A flavor imports its SDK's types for type checkers only, so a private field's annotation may
    name what is not there: such a name counts as Any.
    """
    try:
        attrs.resolve_types(cls)
    except NameError:
        attrs.resolve_types(cls, localns=_AnyForUnknown(vars(sys.modules[cls.__module__])))


class _AnyForUnknown(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        return Any


def _place_first(line: str) -> str:
    text, _, place = line.rpartition(" @ ")
    # A missing field's place is the table; what it is called stands in the text.
    return f"{place}: {text}"


def _describe(error: BaseException, _: type | None) -> str:
    import cattrs

    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl) if field.init]
        return "; ".join(
            f"unknown key {key!r}{did_you_mean(key, known) or f'; known are {listed(known)}'}"
            for key in sorted(error.extra_fields)
        )
    if isinstance(error, KeyError):
        return "required, but not set"
    if isinstance(error, ConfigError | ValueError | TypeError):
        return str(error.args[0]) if error.args else type(error).__name__
    return f"{type(error).__name__}: {error}"


@cache
def _converter() -> Converter:
    """Build a converter that refuses what cattrs would coerce, such as 5 for a text."""
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True, prefer_attrib_converters=True)
    for type_ in (str, int, float, bool):
        converter.register_structure_hook(type_, _strictly)
    converter.register_structure_hook(Path, _to_path)
    converter.register_structure_hook_func(lambda t: t in (Any, object), lambda value, _: value)
    converter.register_structure_hook_func(
        lambda t: _origin(t) is Literal, lambda value, t: _one_of(value, get_args(t))
    )
    converter.register_structure_hook_factory(
        lambda t: _origin(t) in (list, tuple, set, frozenset),
        lambda t: _sequence(t, converter),
    )
    converter.register_structure_hook_factory(
        lambda t: _origin(t) in (dict, Mapping), lambda t: _mapping(t, converter)
    )
    converter.register_structure_hook_factory(_is_union, lambda t: _union(t, converter))
    return converter


def _origin(type_: Any) -> Any:
    return get_origin(type_)


_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _strictly(value: Any, type_: Any) -> Any:
    if type_ is float and type(value) is int:
        return float(value)
    if type(value) is not type_:
        raise TypeError(f"must be {_WORDS[type_]}, not {value!r}")
    return value


def _to_path(value: Any, _: Any) -> Path:
    if not isinstance(value, str | Path):
        raise TypeError(f"must be a path, not {value!r}")
    return Path(value)


def _one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise ValueError(
            f"must be one of {listed(choices)}, not {value!r}{did_you_mean(str(value), choices)}"
        )
    return value


def _sequence(type_: Any, converter: Converter) -> Any:
    origin, arguments = get_origin(type_), [a for a in get_args(type_) if a is not Ellipsis]

    def structure_list(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise TypeError(f"must be a list, not {value!r}")
        inner = arguments[0] if arguments else Any
        return origin(converter.structure(item, inner) for item in value)

    return structure_list


def _mapping(type_: Any, converter: Converter) -> Any:
    def structure_mapping(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a table, not {value!r}")
        inner = (get_args(type_) or (str, Any))[1]
        return {key: converter.structure(item, inner) for key, item in value.items()}

    return structure_mapping


def _is_union(type_: Any) -> bool:
    import types
    import typing

    return get_origin(type_) in (typing.Union, types.UnionType)


def _union(type_: Any, converter: Converter) -> Any:
    def structure_union(value: Any, _: Any) -> Any:
        if value is None and type(None) in get_args(type_):
            return None
        reasons = []
        for member in (member for member in get_args(type_) if member is not type(None)):
            try:
                return converter.structure(value, member)
            except Exception as error:  # cattrs raises several kinds; the last word is below
                reasons.append(str(error))
        raise TypeError(" or ".join(dict.fromkeys(reasons)))

    return structure_union
