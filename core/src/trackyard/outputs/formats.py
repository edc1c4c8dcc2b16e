"""In which format is a step's output stored, and how is it loaded again?

A format is chosen by the value's type: the first one that gives it back equal and of the same
type. cloudpickle comes last, is recorded as such, and its files are loaded from a trusted store
only, since loading one runs code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from trackyard.contract.materializers import Materializer
from trackyard.outputs.arrays import NumpyMaterializer
from trackyard.outputs.files import ImageMaterializer, PathMaterializer
from trackyard.outputs.labelled import LabelledMaterializer
from trackyard.outputs.pickles import PickleMaterializer
from trackyard.outputs.plain import BytesMaterializer, JsonMaterializer, TextMaterializer
from trackyard.outputs.tables import (
    ArrowMaterializer,
    PandasMaterializer,
    PolarsMaterializer,
    PolarsSeriesMaterializer,
)
from trackyard.outputs.values import ValuesMaterializer

logger = logging.getLogger("trackyard")


_EXACT: tuple[Materializer, ...] = (TextMaterializer(), JsonMaterializer(), BytesMaterializer())
_OTHERS: tuple[Materializer, ...] = (
    NumpyMaterializer(),
    PandasMaterializer(),
    PolarsMaterializer(),
    ArrowMaterializer(),
    PolarsSeriesMaterializer(),
    LabelledMaterializer(),
    PathMaterializer(),
    ImageMaterializer(),
    ValuesMaterializer(),
)
PICKLE = PickleMaterializer()
# Formats that are asked before those of packages.
FIRST = frozenset(materializer.name for materializer in _EXACT)


class Materializers:
    """The formats of Trackyard and of installed packages.

    Args:
        installed: Gives the formats of packages, which come before Trackyard's own except for
            texts, JSON and bytes; it is called when the first other value comes.
    """

    def __init__(self, installed: Callable[[], Iterable[Materializer]] = tuple) -> None:
        self._find_installed = installed
        self._installed: tuple[Materializer, ...] | None = None

    def fitting(self, value: Any) -> Iterator[Materializer]:
        """Give the formats that may hold a value, the best one first and pickle last."""
        for materializer in self._all():
            if _can_save(materializer, value):
                yield materializer

    def named(self, name: str) -> Materializer:
        """Find a format by the name that was recorded with an output.

        Raises:
            KeyError: There is no such format here.
        """
        for materializer in self._all():
            if materializer.name == name:
                return materializer
        raise KeyError(name)

    def _all(self) -> Iterator[Materializer]:
        yield from _EXACT
        if self._installed is None:
            self._installed = tuple(_with_free_names(self._find_installed()))
        yield from self._installed
        yield from _OTHERS
        yield PICKLE


def _with_free_names(installed: Iterable[Materializer]) -> Iterator[Materializer]:
    """Leave out formats whose name is taken: it says how a file is loaded again."""
    taken = {materializer.name for materializer in (*_EXACT, *_OTHERS, PICKLE)}
    for materializer in installed:
        if materializer.name in taken:
            kind = type(materializer)
            logger.warning(
                "format %r of %s.%s is not used: there is another one of that name; rename it",
                materializer.name,
                kind.__module__,
                kind.__qualname__,
            )
        else:
            taken.add(materializer.name)
            yield materializer


def _can_save(materializer: Materializer, value: Any) -> bool:
    try:
        return bool(materializer.can_save(value))
    except Exception as error:  # nested too deeply, or of types that a table format refuses
        logger.debug("format %s refuses a %s: %s", materializer.name, type(value).__name__, error)
        return False
