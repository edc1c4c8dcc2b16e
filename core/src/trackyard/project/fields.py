"""Which fields does a class of configuration have, and what does a text mean for one of them?"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from trackyard.contract.flavors import Secret, is_secret, variable_of
from trackyard.project.structuring import resolve_types
from trackyard.system.suggestions import did_you_mean, listed

_TRUTHS = {"true": True, "yes": True, "on": True, "1": True}
_TRUTHS |= {"false": False, "no": False, "off": False, "0": False}
_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    Secret: "reference to a secret",
}


@attrs.frozen
class Field:
    """One field of a flavor, or one of core's own options, as people see it.

    Attributes:
        name: Its key in the configuration.
        type: What it takes, in words.
        default: Its default in words; empty where there is none.
        help: One line.
        is_required: It has no default.
        is_secret: It takes a reference to a secret, never the secret itself.
        env: The variable of an SDK that says the same.
    """

    name: str
    type: str
    default: str
    help: str
    is_required: bool
    is_secret: bool
    annotation: Any = attrs.field(repr=False)
    env: str = ""

    @property
    def is_many(self) -> bool:
        """Tell whether it may be given several times: lists and tables."""
        return any(_kind(member) in ("list", "table") for member in _members(self.annotation))


def fields_of(cls: type) -> tuple[Field, ...]:
    """List the fields of an attrs class, in the order of the class."""
    resolve_types(cls)
    return tuple(_field(attribute) for attribute in attrs.fields(cls) if attribute.init)


def parameters_of(function: Callable[..., Any]) -> tuple[Field, ...]:
    """List the parameters of a function that take a value by name, as fields.

    Where one has no annotation its default says what it takes; the help comes from the docstring.
    """
    try:
        hints = get_type_hints(function)
    except Exception:  # an annotation that cannot be evaluated says nothing
        hints = {}
    helps = _helps_of(inspect.getdoc(function) or "")
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(
        _parameter(parameter, hints.get(parameter.name, Any), helps.get(parameter.name, ""))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in named
    )


def allows_none(annotation: Any) -> bool:
    """Tell whether an annotation takes None."""
    return NoneType in _members(annotation)


def parse_text(text: str, annotation: Any) -> Any:
    """Give what a text of a command line or a variable means, as TOML would have it.

    Args:
        text: What was typed.
        annotation: The field's type.

    Raises:
        ValueError: It means nothing of that type.
    """
    members = [member for member in _members(annotation) if member is not NoneType]
    problems = []
    for member in sorted(members, key=lambda member: member is str):  # any text is a text
        try:
            return _parse_as(text, member)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError(" or ".join(dict.fromkeys(problems)))


def parse_texts(texts: Sequence[str], annotation: Any) -> Any:
    """The same for an option that was given several times: the values are joined.

    Args:
        texts: What was typed, one for each time.
        annotation: The field's type.
    """
    values = [parse_text(text, annotation) for text in texts]
    if isinstance(values[0], Mapping):
        return {key: value for table in values for key, value in table.items()}
    if isinstance(values[0], list):
        return [item for value in values for item in value]
    return values[-1]


def _field(attribute: attrs.Attribute[Any]) -> Field:
    return Field(
        name=attribute.name,
        type=_in_words(attribute.type),
        default=_default(attribute),
        help=str(attribute.metadata.get("help", "")),
        is_required=attribute.default is attrs.NOTHING,
        is_secret=is_secret(attribute),
        annotation=attribute.type,
        env=variable_of(attribute),
    )


def _parameter(parameter: inspect.Parameter, annotation: Any, help: str) -> Field:
    default = parameter.default
    is_required = default is inspect.Parameter.empty
    if annotation is Any and type(default) in (bool, int, float, str, list, dict):
        annotation = type(default)
    shown = "" if is_required or default is None else str(default)
    return Field(
        name=parameter.name,
        type=_in_words(annotation),
        default=shown.lower() if isinstance(default, bool) else shown,
        help=help,
        is_required=is_required,
        is_secret=False,
        annotation=annotation,
    )


def _helps_of(docstring: str) -> dict[str, str]:
    """Read what the section `Args:` of a docstring says of each parameter."""
    section = re.search(r"^Args:\n(.*?)(?:^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    found = re.findall(
        r"^ {4}(\w+)[^:\n]*: (.*(?:\n {5,}.*)*)", section[1].expandtabs(4), re.MULTILINE
    )
    return {name: " ".join(text.split()) for name, text in found}


def _in_words(annotation: Any) -> str:
    words = [_member_in_words(m) for m in _members(annotation) if m is not NoneType]
    return " or ".join(dict.fromkeys(words)) or "anything"


def _member_in_words(member: Any) -> str:
    if member in _WORDS:
        return _WORDS[member]
    if get_origin(member) is Literal:
        return " or ".join(str(choice) for choice in get_args(member))
    match _kind(member):
        case "list":
            inner = get_args(member)[:1]
            return f"list of {_in_words(inner[0])}" if inner else "list"
        case "table":
            return "table"
    return "anything" if member in (Any, object) else getattr(member, "__name__", str(member))


def _default(attribute: attrs.Attribute[Any]) -> str:
    default: Any = attribute.default
    if default is attrs.NOTHING or default is None:
        return ""
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        factory: Any = default.factory
        if factory in (dict, list, tuple, set, frozenset):
            return ""
        return (inspect.getdoc(factory) or "").partition("\n")[0].rstrip(".")
    return str(default).lower() if isinstance(default, bool) else str(default)


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, UnionType):
        return get_args(annotation)
    return (annotation,)


def _kind(member: Any) -> str:
    origin = get_origin(member) or member
    if not inspect.isclass(origin) or issubclass(origin, str | bytes):
        return "other"
    if issubclass(origin, Mapping):
        return "table"
    return "list" if issubclass(origin, Sequence | set | frozenset) else "other"


def _parse_as(text: str, member: Any) -> Any:
    if member in (str, Path, Secret):
        return text
    if member is bool:
        return _choice(text.lower(), _TRUTHS, f"must be true or false, not {text!r}")
    if member in (int, float):
        return _number(text, member)
    if get_origin(member) is Literal:
        choices = {str(choice): choice for choice in get_args(member)}
        hint = did_you_mean(text, choices)
        return _choice(text, choices, f"must be one of {listed(choices)}, not {text!r}{hint}")
    arguments = get_args(member)
    parse: dict[str, Callable[[], Any]] = {
        "list": lambda: _list(text, arguments[0] if arguments else str),
        "table": lambda: _table(text, arguments[1] if arguments else str),
        "other": lambda: _toml(text, lambda: text),
    }
    return parse[_kind(member)]()


def _choice(text: str, choices: Mapping[str, Any], problem: str) -> Any:
    if text not in choices:
        raise ValueError(problem)
    return choices[text]


def _number(text: str, member: type) -> Any:
    try:
        return member(text)
    except ValueError:
        words = {int: "a whole number", float: "a number"}[member]
        raise ValueError(f"must be {words}, not {text!r}") from None


def _list(text: str, inner: Any) -> Any:
    def parted() -> list[Any]:
        return [parse_text(part.strip(), inner) for part in text.split(",") if part.strip()]

    return _toml(text, parted) if text.lstrip().startswith("[") else parted()


def _table(text: str, inner: Any) -> Any:
    def parted() -> dict[str, Any]:
        pairs = [part.partition("=") for part in re.split(r",(?=[^,=]+=)", text) if part.strip()]
        if not all(equals and key.strip() for key, equals, _ in pairs):
            raise ValueError(f"must be KEY=VALUE, not {text!r}")
        return {key.strip(): parse_text(value.strip(), inner) for key, _, value in pairs}

    return _toml(text, parted) if text.lstrip().startswith("{") else parted()


def _toml(text: str, otherwise: Callable[[], Any]) -> Any:
    """Read a value as TOML or JSON, which people write more often."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass  # then it may be JSON
    try:
        return json.loads(text)
    except ValueError:
        return otherwise()
