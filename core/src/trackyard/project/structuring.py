"""Does a table say what a class may hold? Nothing is coerced, and every mistake has its place."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs

from trackyard.contract.errors import ConfigError
from trackyard.system.interruption import let_signals_through
from trackyard.system.starving import is_starved
from trackyard.system.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from cattrs import Converter

_T = TypeVar("_T")


def structure(
    table: Mapping[str, Any], cls: type[_T], place: str, also_known: Iterable[str] = ()
) -> _T:
    """Make an instance of an attrs class from a table, strictly: nothing is coerced or ignored.

    Args:
        table: Keys and values as read from TOML.
        cls: The class; its types, converters and validators decide.
        place: File and key path of the table, for messages.
        also_known: Keys that stand beside the class's own, for messages.

    Raises:
        ConfigError: One line per mistake, each with its place.
    """
    if not table and _has_defaults(cls):  # as in most projects: cattrs takes 15 ms
        return cls()
    import cattrs

    resolve_types(cls)
    try:
        return _converter().structure(dict(table), cls)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError) as error:
        for inner in _leaves(error):
            let_signals_through(inner)
        lines = (f"{at}: {text}" for at, text in _mistakes(error, place, tuple(also_known)))
        # No mistake of the user's, and seen by who goes on without.
        raise ConfigError("\n".join(lines)) from (error if is_starved(error) else None)


def _has_defaults(cls: type) -> bool:
    fields = attrs.fields(cls)
    return all(field.default is not attrs.NOTHING for field in fields if field.init)


def resolve_types(cls: type) -> None:
    """Evaluate annotations that are texts, as `from __future__ import annotations` makes them.

    A flavor imports its SDK's types for type checkers only, so a private field's annotation may
    name what is not there: such a name counts as Any.
    """
    try:
        attrs.resolve_types(cls)
    except NameError:
        names = _AnyForUnknown()
        for owner in reversed(cls.__mro__):  # a flavor may be derived from one in another module
            names.update(vars(sys.modules[owner.__module__]))
        attrs.resolve_types(cls, localns=names)


class _AnyForUnknown(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name) or name.startswith("__"):
            raise KeyError(name)
        return Any


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Give the errors of a group, and of the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _mistakes(
    error: Exception, place: str, also_known: tuple[str, ...] = ()
) -> Iterator[tuple[str, str]]:
    """Give place and text of every mistake in what cattrs raised."""
    import cattrs

    if isinstance(error, cattrs.ClassValidationError):
        named, others = error.group_exceptions()
        for inner, note in named:
            yield from _mistakes(inner, f"{place}.{note.name}")
        for inner in others:
            yield from _mistakes(inner, place, also_known)
    elif isinstance(error, cattrs.IterableValidationError):
        for inner, item in error.group_exceptions()[0]:
            at = f"[{item.index}]" if isinstance(item.index, int) else f".{item.index}"
            yield from _mistakes(inner, place + at)
    else:
        yield place, _describe(error, also_known)


def _describe(error: Exception, also_known: tuple[str, ...]) -> str:
    import cattrs

    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl) if field.init] + [*also_known]
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
    converter.register_structure_hook_func(lambda t: _origin(t) is Literal, _one_of)
    for is_meant, make in (
        (attrs.has, _class),
        (lambda t: _origin(t) in _LISTS, _sequence),
        (lambda t: _origin(t) in (dict, Mapping), _mapping),
        (_is_union, _union),
    ):
        converter.register_structure_hook_factory(is_meant, partial(make, converter))
    return converter


_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
# What is made of a list for each annotation.
_LISTS: dict[Any, type] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Iterable: list,
    Collection: list,
    Sequence: list,
}


def _origin(type_: Any) -> Any:
    return get_origin(type_) or type_


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


def _one_of(value: Any, type_: Any) -> Any:
    choices = get_args(type_)
    if not any(type(choice) is type(value) and choice == value for choice in choices):
        hint = did_you_mean(str(value), filter(lambda choice: isinstance(choice, str), choices))
        raise ValueError(f"must be one of {listed(choices)}, not {value!r}{hint}")
    return value


def _class(converter: Converter, cls: type) -> Any:
    from cattrs import ClassValidationError

    structure_fields: Any = converter.gen_structure_attrs_fromdict(cls)

    def structure_class(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a table, not {value!r}")
        try:
            return structure_fields(value, cls)
        except ClassValidationError as error:
            for inner in error.group_exceptions()[1]:
                _name_field(inner, cls, value, converter)
            raise

    return structure_class


def _name_field(error: Exception, cls: type, table: Mapping[str, Any], by: Converter) -> None:
    """Note on an error of a converter or validator whose field it is: attrs does not say."""
    from cattrs import AttributeValidationNote

    for field in (field for field in attrs.fields(cls) if field.name in table):
        try:
            value = table[field.name]
            value = field.converter(value) if field.converter else by.structure(value, field.type)
            if field.validator:
                field.validator(None, field, value)
        except Exception as again:
            let_signals_through(again)
            if (type(again), str(again)) == (type(error), str(error)):
                error.add_note(AttributeValidationNote("", field.name, field.type))
                return


def _sequence(converter: Converter, type_: Any) -> Any:
    make = _LISTS[_origin(type_)]
    arguments = get_args(type_) or (Any,)
    wanted = arguments if make is tuple and arguments[-1] is not Ellipsis else None
    if type_ is tuple:
        wanted = None

    def structure_list(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise TypeError(f"must be a list, not {value!r}")
        if wanted is not None and len(value) != len(wanted):
            raise ValueError(f"must be a list of {len(wanted)}, not {value!r}")
        types = wanted or (arguments[0],) * len(value)
        items = ((index, item, types[index]) for index, item in enumerate(value))
        return make(_structure_each(converter, type_, items))

    return structure_list


def _mapping(converter: Converter, type_: Any) -> Any:
    inner = (get_args(type_) or (str, Any))[1]

    def structure_mapping(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a table, not {value!r}")
        items = ((key, item, inner) for key, item in value.items())
        return dict(zip(value, _structure_each(converter, type_, items), strict=True))

    return structure_mapping


def _structure_each(
    converter: Converter, type_: Any, items: Iterable[tuple[int | str, Any, Any]]
) -> list[Any]:
    """Structure the items of a list or table; an error has each mistake with its index or key."""
    from cattrs import IterableValidationError, IterableValidationNote

    structured, errors = [], []
    for index, item, inner in items:
        try:
            structured.append(converter.structure(item, inner))
        except Exception as error:  # cattrs raises several kinds; all are told together
            let_signals_through(error)
            error.add_note(IterableValidationNote("", index, inner))
            errors.append(error)
    if errors:
        raise IterableValidationError("", errors, type_)
    return structured


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, UnionType)


def _union(converter: Converter, type_: Any) -> Any:
    members = [member for member in get_args(type_) if member is not type(None)]

    def structure_union(value: Any, _: Any) -> Any:
        if value is None and type(None) in get_args(type_):
            return None
        if len(members) == 1:
            return converter.structure(value, members[0])
        reasons = []
        for member in members:
            try:
                return converter.structure(value, member)
            except Exception as error:  # cattrs raises several kinds; the last word is below
                for inner in _leaves(error):
                    let_signals_through(inner)
                reasons += [f"{at} {text}".strip() for at, text in _mistakes(error, "")]
        raise TypeError(" or ".join(dict.fromkeys(reasons)))

    return structure_union
