"""How does a package offer names whose modules are imported when they are first used?

Its stub, `__init__.pyi`, is the one list of them: type checkers and editors read it, and so does
the package itself, when it is first asked for a name.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False  # importing `typing` would cost more than all else of `import trackyard`
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def open_door(
    package: str, unlisted: str = "", spare: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Give a package's `__getattr__` and `__dir__`; its `__all__` is found by the former.

    Args:
        package: Its `__name__`; each `from module import Name as Name` of its stub is a name.
        unlisted: A module of whose names nothing is said in `__all__` and `dir()`; they work.
        spare: A module whose `in_place_of(name, load, error)` is asked where there is no memory
            to import a name's own, or no file can be opened.
    """
    module = sys.modules[package]
    homes: dict[str, str] = {}

    def known() -> dict[str, str]:
        if not homes:
            homes.update(_homes(module))
        return homes

    def listed() -> list[str]:
        return sorted(name for name, home in known().items() if home != unlisted)

    def find(name: str) -> Any:
        if name == "__all__":
            return listed()
        if name.startswith("__") or name not in known():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return load(name)
        except (ImportError, MemoryError) as error:
            if not spare:
                raise
            from importlib import import_module

            return import_module(spare).in_place_of(name, load, error)

    def load(name: str) -> Any:
        from importlib import import_module

        with Uncollected():
            value = getattr(import_module(homes[name]), name)
        setattr(module, name, value)
        return value

    return find, lambda: sorted(vars(module).keys() - known().keys() | {*listed()})


class Uncollected:
    """Leaves garbage alone while the block runs, which imports many modules.

    What they make stays, and looking through it again and again takes a tenth of the time.
    """

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()


def _homes(module: ModuleType) -> dict[str, str]:
    """Read from a package's stub in which module each of its names is.

    The stub is as a formatter leaves it, and importing `ast` would cost more than all else here.
    """
    loader: Any = module.__spec__ and module.__spec__.loader
    stub = loader.get_data(f"{str(module.__file__).rpartition('.')[0]}.pyi").decode()
    homes: dict[str, str] = {}
    home = ""
    for line in stub.splitlines():
        names = line
        if line.startswith("from "):
            home, _, names = line.removeprefix("from ").partition(" import ")
        for part in names.strip("( )").split(","):
            name, is_given, given = part.strip().partition(" as ")
            if home and is_given and name == given:
                homes[given] = home
    return homes
