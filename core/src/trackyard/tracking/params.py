"""How do nested configurations become params, and what does `[params]` say of that?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.contract.records import ParamValue
from trackyard.project.configuration import Project
from trackyard.project.structuring import structure
from trackyard.system.coercing import to_pairs, to_param, to_text
from trackyard.tracking.plain_values import PlainValues

_FINISHED = frozenset({str, int, float, bool, type(None)})


@attrs.frozen(kw_only=True)
class ParamOptions:
    """What a project says of params, in `[params]`.

    Attributes:
        nested: What `log_params` makes of a dict in a dict: `flat`: a param for each value, whose
            key is the path to it, such as `optimizer.lr`; `text`: one param, the dict's text.
    """

    nested: Literal["flat", "text"] = "flat"


def load_param_options(project: Project) -> ParamOptions:
    """Read a project's `[params]`.

    Raises:
        ConfigError: It has an unknown key or a wrong value.
    """
    table, place = project.table.get("params", {}), project.place("params")
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: must be a table, not {table!r}")
    return structure(table, ParamOptions, place) if table else ParamOptions()


def param_of(value: Any, redact: Callable[[Any], Any], values: PlainValues) -> ParamValue:
    """Give what is kept of one param: a plain value as it is, anything else as one text.

    Args:
        value: The value.
        redact: Gives nested values without secrets.
        values: Makes values plain, and notes what it changes.
    """
    if type(value) in _FINISHED:
        return to_param(value)
    plain = values.plain(value)
    return to_param(redact(plain) if type(plain) in (dict, list) else plain)


def params_of(
    params: Any, options: ParamOptions, redact: Callable[[Any], Any], values: PlainValues
) -> dict[str, ParamValue] | None:
    """Give the params that a mapping, pairs or an object with fields stand for.

    Args:
        params: What the user logs.
        options: What the project says.
        redact: Gives nested values without secrets.
        values: Makes values plain, and notes what it changes.

    Returns:
        None where it is nothing of the kind.
    """
    fields = params if type(params) is dict else values.fields(params)
    pairs = to_pairs(params if fields is None else fields)
    if pairs is None:
        return None
    found: dict[str, ParamValue] = {}
    for key, value in pairs:
        if key is None:
            values.note("a param whose key is None was left out; give it a name")
        elif type(value) in _FINISHED:
            _put(key, to_param(value), found, values)
        elif options.nested == "text":
            _put(key, param_of(value, redact, values), found, values)
        else:
            plain = values.plain(value)
            ((name, kept),) = redact({key: plain}).items()
            _flatten(name, plain, kept, found, values)
    return found


def _flatten(
    key: str, plain: Any, kept: Any, found: dict[str, ParamValue], values: PlainValues
) -> None:
    """Put a value, or those of a dict, under keys that say where they are.

    Args:
        key: Its key.
        plain: The value.
        kept: The value without secrets.
        found: Gets the params.
        values: Notes what is changed.
    """
    if type(kept) is dict and kept:
        for before, (inner, after) in zip(plain.values(), kept.items(), strict=False):
            _flatten(f"{key}.{inner}", before, after, found, values)
        return
    if kept == "***" != plain:
        values.note(f"{key!r} looks like a secret: its value is not kept")
    _put(key, to_param(kept), found, values)


def _put(key: str, value: ParamValue, found: dict[str, ParamValue], values: PlainValues) -> None:
    if key in found:
        values.note(f"two params have the key {to_text(key)!r}, and the last one was kept")
    found[key] = value
