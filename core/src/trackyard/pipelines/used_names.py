"""Which names does compiled code use: of its module, of what it has, and of what it imports?"""

from __future__ import annotations

import dis
from collections.abc import Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

import attrs

_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")


@attrs.frozen
class Import:
    """An import inside a function.

    Attributes:
        name: The module's; empty in `from . import a`.
        names: What is taken from it.
        level: How many dots stand before its name.
    """

    name: str
    names: tuple[str, ...]
    level: int

    def run(self, namespace: Mapping[str, Any]) -> Any:
        """Import it as the code would that has these globals; None where that fails."""
        try:
            return __import__(self.name, dict(namespace), None, self.names, self.level)
        except (Exception, SystemExit):  # the code will say so when it runs, or takes another way
            return None


@attrs.frozen
class UsedNames:
    """What code names, in an order that is always the same.

    Attributes:
        globals: Names of the module that it stands in.
        attributes: Names behind a dot, of anything.
        imports: What it imports itself.
    """

    globals: tuple[str, ...]
    attributes: frozenset[str]
    imports: tuple[Import, ...]


@lru_cache(maxsize=4096)
def used_names(code: CodeType) -> UsedNames:
    """Find the names in code, and in the functions and comprehensions inside it."""
    found: set[str] = set()
    attributes: set[str] = set()
    imports: set[Import] = set()
    before: list[Any] = [0, None]
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBALS:
            found.add(instruction.argval)
        elif instruction.opname in _ATTRIBUTES:
            attributes.add(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            level, names = before
            imports.add(Import(instruction.argval, tuple(names or ()), level or 0))
        before = [before[1], instruction.argval]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = used_names(constant)
            found.update(inner.globals)
            attributes.update(inner.attributes)
            imports.update(inner.imports)
    ordered = sorted(imports, key=attrs.astuple)
    return UsedNames(tuple(sorted(found)), frozenset(attributes), tuple(ordered))
