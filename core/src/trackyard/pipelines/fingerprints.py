"""When is a step's earlier result the one that it would give again?

When its code, its inputs and its params are equal: written as bytes that are equal in each process
while what a function runs and uses is equal.
Code is what Python has compiled, so that comments and layout do not count. Followed are the names
that code of the user's own modules has: to functions, classes, methods and values, in whichever
own module they stand. Of installed packages their names and versions count.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.util
import pickle
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import attrs

from trackyard.contract.materializers import StoredOutput
from trackyard.pipelines.types import output_names
from trackyard.system.distributions import version_of

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CONTAINERS = (list, tuple, dict, set, frozenset, MappingProxyType)
# What a class holds under names like `__this__` is mostly made anew by each process.
_TELLING = ("__slots__", "__match_args__", "__annotations__", "__pydantic_fields__")
_METHODS = (FunctionType, staticmethod, classmethod, property)


class Fingerprints:
    """Writes values, and what they lead to; what has been written is named from then on."""

    def __init__(self, packages: Packages | None = None) -> None:
        self._packages = packages or Packages()
        self._seen: dict[int, tuple[int, Any]] = {}  # the value is kept, and so is its id
        self._open: set[int] = set()

    def of(self, value: Any, *, is_strict: bool = False) -> bytes:
        """Write a value so that what is equal and of one type is written alike.

        Args:
            value: Anything.
            is_strict: Raise where the value cannot be told from others, in place of writing
                what is known of it.
        """
        kind = type(value)
        if kind in _PLAIN:
            return _framed(kind.__name__, repr(value).encode("utf-8", "backslashreplace"))
        if kind in _CONTAINERS:
            return self._container(value, is_strict)
        if kind in (CodeType, StoredOutput):
            return self._code(value) if kind is CodeType else _stored(value)
        followed = self._followed(value)
        return self._object(value, is_strict) if followed is None else followed

    def _followed(self, value: Any) -> bytes | None:
        """Write what leads to code; None for other values."""
        if isinstance(value, FunctionType):
            return self._once(value, self._function)
        if isinstance(value, type):
            return self._once(value, self._class)
        if isinstance(value, ModuleType):
            return self._module(value, frozenset())
        below = _below(value)
        return self._all(_name(type(value)), below) if below else None

    def _object(self, value: Any, is_strict: bool) -> bytes:
        seen = dict(self._seen)
        hashing = _Hashing()
        try:
            _Pickler(self, hashing).dump(value)
        except Exception:  # a value that cannot be pickled decides itself how it fails
            if is_strict:
                raise
            self._seen = seen  # what was seen meanwhile has not been written
            return self._once(value, self._state)
        return _framed(_name(type(value)), hashing.digest.digest())

    def _function(self, function: FunctionType) -> Iterator[bytes]:
        place = function.__globals__.get("__name__") or function.__module__ or ""
        if not self._packages.is_own(place):
            yield self._packages.note(place, function.__qualname__)
            yield self.of(vars(function).get("__wrapped__"))
            return
        yield self._code(function.__code__)
        yield self.of(function.__defaults__)
        yield self.of(function.__kwdefaults__)
        used = used_names(function.__code__)
        for cell in function.__closure__ or ():
            with suppress(ValueError):  # not filled yet
                yield self._used(cell.cell_contents, used.attributes)
        for name in used.globals:
            if name in function.__globals__:
                yield _framed(name, self._used(function.__globals__[name], used.attributes))
        for imported in used.imports:
            top = imported.name.partition(".")[0]
            if imported.level or self._packages.is_own(top):
                module = imported.run(function.__globals__)
                yield _framed(imported.name, self._used(module, used.attributes))
            else:
                yield self._packages.note(imported.name, "")

    def _class(self, kind: type) -> Iterator[bytes]:
        if not self._packages.is_own(kind.__module__):
            yield self._packages.note(kind.__module__, kind.__qualname__)
            return
        yield kind.__qualname__.encode()
        yield self._all("bases", (type(kind), *kind.__bases__))
        for name, value in sorted(vars(kind).items()):
            is_hidden = name.startswith("__") and name.endswith("__")
            is_telling = name in _TELLING or isinstance(value, _METHODS)
            if (not is_hidden or is_telling) and not _is_attrs_hash(name, value):
                yield _framed(name, self.of(value))

    def _state(self, value: Any) -> Iterator[bytes]:
        """Write what is known of a value that cannot be pickled."""
        yield self.of(type(value))
        if self._packages.is_own(type(value).__module__):
            for name, item in sorted(getattr(value, "__dict__", {}).items()):
                yield _framed(name, self.of(item))

    def _used(self, value: Any, attributes: frozenset[str]) -> bytes:
        return self._module(value, attributes) if isinstance(value, ModuleType) else self.of(value)

    def _module(self, module: ModuleType, attributes: frozenset[str]) -> bytes:
        """Write what code takes of a module; all of its file where that cannot be told."""
        if not self._packages.is_own(module.__name__):
            return self._packages.note(module.__name__, "")
        taken = {name: vars(module)[name] for name in sorted(attributes & vars(module).keys())}
        if taken:
            parts = (
                _framed(name, self._used(value, attributes - {name}))
                for name, value in taken.items()
            )
            return _framed(module.__name__, b"".join(parts))
        file = getattr(module, "__file__", None)
        content = Path(file).read_bytes() if file else b""
        return _framed(module.__name__, hashlib.sha256(content).digest())

    def _code(self, code: CodeType) -> bytes:
        numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        compiled = (code.co_code, getattr(code, "co_exceptiontable", b""))
        return self._all("code", (numbers, names, compiled, code.co_consts))

    def _container(self, value: Any, is_strict: bool) -> bytes:
        kind = type(value).__name__
        if id(value) in self._open:
            return _framed(kind, b"itself")
        self._open.add(id(value))
        try:
            if isinstance(value, set | frozenset):  # their order is another one in each process
                parts = sorted(
                    Fingerprints(self._packages).of(item, is_strict=is_strict) for item in value
                )
            elif isinstance(value, dict | MappingProxyType):
                pairs = (part for pair in value.items() for part in pair)
                parts = [self.of(part, is_strict=is_strict) for part in pairs]
            else:
                parts = [self.of(item, is_strict=is_strict) for item in value]
        finally:
            self._open.discard(id(value))
        return _framed(kind, b"".join(parts))

    def _all(self, kind: str, values: Iterable[Any]) -> bytes:
        return _framed(kind, b"".join(self.of(value) for value in values))

    def _once(self, value: Any, write: Callable[[Any], Iterable[bytes]]) -> bytes:
        if id(value) in self._seen:
            return f"seen {self._seen[id(value)][0]};".encode()
        self._seen[id(value)] = (len(self._seen), value)
        return _framed(type(value).__name__, b"".join(write(value)))


class Packages:
    """Tells what is the user's own: not Trackyard's, Python's, or an installed package's."""

    def __init__(self) -> None:
        self.is_own = functools.cache(_is_own)
        self._version = functools.cache(_version)

    def note(self, module: str, name: str) -> bytes:
        """Write the name of what is not followed.

        Args:
            module: Full name of the module.
            name: The name in it.
        """
        return f"{module}.{name} {self._version(module.partition('.')[0])};".encode()


class _Hashing:
    """A file that keeps the digest of what is written to it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> None:
        self.digest.update(data)


class _Pickler(pickle.Pickler):
    """Pickles with fingerprints in place of code, and of sets, whose order is by chance."""

    def __init__(self, fingerprints: Fingerprints, file: Any) -> None:
        super().__init__(file, protocol=5)
        self._fingerprints = fingerprints

    def persistent_id(self, obj: Any) -> str | None:
        kind = type(obj)
        told = (FunctionType, set, frozenset, CodeType, StoredOutput)
        if kind in told or isinstance(obj, type | ModuleType):
            return hashlib.sha256(self._fingerprints.of(obj, is_strict=True)).hexdigest()
        return None


def _framed(kind: str, data: bytes) -> bytes:
    return f"{kind} {len(data)}:".encode("utf-8", "backslashreplace") + data


def _below(value: Any) -> tuple[Any, ...]:
    """Give what a method, property or wrapper calls; nothing for other values."""
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    if isinstance(value, MethodType):
        return (value.__func__, value.__self__)
    if isinstance(value, functools.cached_property):
        return (value.func,)
    # A step, or what `functools.lru_cache` makes, has the user's own function below it.
    wrapped = getattr(value, "__dict__", {}).get("__wrapped__")
    return () if wrapped is None else (wrapped,)


def _is_attrs_hash(name: str, value: Any) -> bool:
    """Tell whether attrs has written a method that holds a hash of the class's name."""
    file = getattr(getattr(value, "__code__", None), "co_filename", "")
    return name == "__hash__" and file.startswith("<attrs generated")


def _stored(output: StoredOutput) -> bytes:
    return f"output {output.sha256} {output.materializer};".encode()


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _version(package: str) -> str:
    """Give an installed package's version, where it is known by the name that code imports."""
    if package == "trackyard" or package in sys.stdlib_module_names:
        return ""  # what tracks a result does not make it; Python's own is in the compiled code
    own = vars(sys.modules[package]).get("__version__") if package in sys.modules else None
    if isinstance(own, str):
        return own
    return version_of(package)  # empty where it is called otherwise there


def _is_own(module: str) -> bool:
    top = module.partition(".")[0]
    if top == "trackyard" or module in sys.builtin_module_names:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None and module not in sys.modules:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top)
            file = spec.origin if spec is not None and spec.has_location else None
    if file is None:  # of a notebook, or made here
        return top not in sys.stdlib_module_names
    path = Path(file)
    if {"site-packages", "dist-packages"} & {*path.parts}:
        return False
    return not any(path.is_relative_to(folder) for folder in _installed_folders())


@functools.cache
def _installed_folders() -> frozenset[str]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    return frozenset(path for kind in kinds if (path := sysconfig.get_paths().get(kind)))


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


def cache_key(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str | None:
    """Give a text that is equal for equal code and arguments; None where that cannot be told.

    Args:
        function: The step's function.
        arguments: By parameter name; a `StoredOutput` stands for what it names.
    """
    fingerprints = Fingerprints()
    try:
        digest = hashlib.sha256(fingerprints.of((function, output_names(function))))
        for name, value in sorted(arguments.items()):
            digest.update(fingerprints.of((name, value), is_strict=True))
    except Exception:  # a value that cannot be pickled decides itself how it fails
        return None
    return digest.hexdigest()
