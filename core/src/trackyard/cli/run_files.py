"""What do the files of `trackyard run --config` say, and which name does `--name` make?"""

from __future__ import annotations

import json
import string
import tomllib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.system.suggestions import did_you_mean, listed

# What a file may say of a step; the rest belongs to the code.
STEP_OPTIONS = (
    "experiment_tracker",
    "settings",
    "retries",
    "retry_delay",
    "timeout",
    "cache",
    "resources",
)
_SECTIONS = {
    "params": dict,
    "stack": str,
    "name": str,
    "experiment_tracker": object,
    "steps": dict,
}


@attrs.frozen
class RunFile:
    """What the files say together, the later ones over the earlier ones.

    Attributes:
        params: The pipeline's parameters.
        stack: The stack, or None.
        name: The run's name, as `--name` takes it, or None.
        experiment_tracker: Where every step is tracked, or None.
        steps: Options of steps by name.
    """

    params: Mapping[str, Any] = attrs.field(factory=dict)
    stack: str | None = None
    name: str | None = None
    experiment_tracker: Any = None
    steps: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)


def read_run_files(paths: Iterable[Path], parameters: Collection[str]) -> RunFile:
    """Read the files, each YAML, TOML or JSON.

    A file has `params`, `stack`, `name`, `experiment_tracker` and `steps`, or parameters alone.

    Args:
        paths: The files, the one that counts most last.
        parameters: Names of the pipeline's parameters.

    Raises:
        ConfigError: One cannot be read, or says what it cannot.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        _merge(merged, _sections(_table(path), path, parameters))
    return RunFile(**merged)


def _table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            table: Any = tomllib.loads(text)
        elif path.suffix == ".json":
            table = json.loads(text)
        else:
            import yaml

            try:
                table = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(" ".join(str(error).split())) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # also of bytes that are no text
        raise ConfigError(f"{path}: is not valid: {error}") from error
    if not isinstance(table, dict | None) or not all(isinstance(key, str) for key in table or ()):
        raise ConfigError(f"{path}: must be a table of names and values, not {table!r}")
    return table or {}


def _sections(table: dict[str, Any], path: Path, parameters: Collection[str]) -> dict[str, Any]:
    """Give a file's sections; one without any has parameters alone."""
    has_sections = any(key in _SECTIONS and key not in parameters for key in table)
    sections = table if has_sections else {"params": table}
    _check_names(sections, _SECTIONS, f"{path}: ")
    for key, kind in _SECTIONS.items():
        if kind is not object and key in sections and not isinstance(sections[key], kind):
            what = "a table" if kind is dict else "a text"
            raise ConfigError(f"{path}: {key}: must be {what}, not {sections[key]!r}")
    for name, options in sections.get("steps", {}).items():
        if not isinstance(options, dict):
            raise ConfigError(f"{path}: steps.{name}: must be a table, not {options!r}")
        _check_names(options, STEP_OPTIONS, f"{path}: steps.{name}.")
    dashed = [str(name).replace("-", "_") for name in sections.get("params", {})]
    _check_names(dashed, parameters, f"{path}: params.")
    return sections


def _check_names(names: Iterable[str], known: Collection[str], where: str) -> None:
    for name in names:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"; there are {listed(known)}"
            raise ConfigError(f"{where}{name}: unknown{hint}")


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        else:
            below[key] = value


def run_name(pattern: str, pipeline: str, stack: str, params: Mapping[str, Any]) -> str:
    """Make a run's name, such as of `{pipeline}-{params.rate}-{date}`.

    Args:
        pattern: What `--name` says.
        pipeline: The pipeline's name.
        stack: The active stack's name.
        params: The pipeline's arguments as they are kept.

    Raises:
        ConfigError: It names what there is not.
    """
    now = datetime.now()
    known = {"pipeline": pipeline, "stack": stack}
    known |= {"date": f"{now:%Y%m%d}", "time": f"{now:%H%M%S}"}
    known |= {f"params.{key}": value for key, value in params.items()}
    made = ""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ConfigError(f"--name {pattern}: {error}; write {{{{ for a brace") from error
    for text, field, how, _ in parts:
        made += text
        if field is None:
            continue
        if field not in known:
            hint = did_you_mean(field, known) or f"; there are {listed(known)}"
            raise ConfigError(f"--name {pattern}: {{{field}}} is unknown{hint}")
        try:
            made += format(known[field], how or "")
        except (ValueError, TypeError) as error:
            raise ConfigError(f"--name {pattern}: {{{field}:{how}}}: {error}") from error
    if not made.strip():
        raise ConfigError(f"--name {pattern}: a name must not be empty")
    return made
