"""How does a tracker wait for its SDK to be imported, instead of importing it for every step?

An SDK costs a second or more, and most steps use none. A flavor that needs it in the step's
process for native calls waits until somebody imports it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

logger = logging.getLogger("trackyard")


@contextmanager
def after_import(module: str, call: Callable[[], object]) -> Iterator[None]:
    """Call a function when a module is imported inside a block, by whichever thread.

    Args:
        module: Full name of the module.
        call: Called once, by the thread that imports, when the module is there. What it raises is
            a warning: the import must not fail for it.
    """
    finder = _Finder(module, call)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with suppress(ValueError):  # it was imported
            sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    def __init__(self, module: str, call: Callable[[], object]) -> None:
        self._module = module
        self._call = call

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module as others do; looking whether it is there does not import it."""
        if name != self._module or self not in sys.meta_path:
            return None
        others = sys.meta_path[sys.meta_path.index(self) + 1 :]
        spec = next(filter(None, (other.find_spec(name, path, target) for other in others)), None)
        if spec is not None and spec.loader is not None:
            vars(spec.loader)["exec_module"] = partial(self._import, spec.loader.exec_module)
        return spec

    def _import(self, exec_module: Callable[[ModuleType], None], module: ModuleType) -> None:
        exec_module(module)
        if self not in sys.meta_path:  # it is imported for the second time
            return
        sys.meta_path.remove(self)
        try:
            self._call()
        except Exception as error:  # the step's import must not fail for it
            logger.warning("native calls do not land in the run: %s", error)
